"""Chart geometry: functions from figures to SVG path data and positions. Pure, no markup.

Shapes live in a coordinate system of their own that the page stretches to its width
(``preserveAspectRatio="none"``, strokes that do not scale), texts and marks stand at percentages.
So a chart fits any width without a script and without a style attribute, and colours come from
classes alone.
"""
