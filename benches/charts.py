"""A chart: what one scene says of one face, the ratios of all its tables, worst line first, in Markdown and as SVG."""

from dataclasses import dataclass, field
from math import log
from xml.sax.saxutils import escape

from tables import OURS, Ratio, Table


@dataclass(frozen=True)
class Line:
    label: str
    """What was measured."""
    ours: str
    """Our cost, in the unit that the label or the chart's title names."""
    ratios: dict[str, Ratio]
    """Each contender's cost over ours."""


@dataclass
class Chart:
    name: str
    """Of its file, and of its place in the README."""
    title: str
    tables: list[Table] = field(default_factory=list)

    def add(self, table: Table) -> None:
        """Takes a table in, and prints it at once."""
        self.tables.append(table)
        table.show(self.title)

    def lines(self) -> list[Line]:
        """One for each cost of each table, that in which a peer comes nearest to us, or passes us furthest, first."""
        ranked = []
        for table in self.tables:
            for cost, (heading, form) in table.costs.items():
                if ratios := table.ratios(cost):
                    words = [table.title] if table.title else []
                    words += [heading] if len(table.costs) > 1 or not words else []
                    peers = [ratio.median for name, ratio in ratios.items() if name not in table.aside]
                    line = Line(": ".join(words), format(table.medians(cost)[OURS], form), ratios)
                    ranked.append((min(peers, default=float("inf")), line))
        return [line for _, line in sorted(ranked, key=lambda entry: entry[0])]

    def contenders(self) -> list[str]:
        """In the order in which they first appear."""
        return list(dict.fromkeys(name for table in self.tables for name in table.rounds if self._has(name)))

    def _has(self, name: str) -> bool:
        return any(name in line.ratios for line in self.lines())

    def markdown(self) -> str:
        names = self.contenders()
        rows = ["| | ours | " + " | ".join(names) + " |", "|---|---:|" + "---:|" * len(names)]
        for line in self.lines():
            ratios = " | ".join(str(line.ratios.get(name, "-")) for name in names)
            rows.append(f"| {line.label} | {line.ours} | {ratios} |")
        return "\n".join(rows)

    def svg(self) -> str:
        return _Drawing(self).text()


class _Drawing:
    """Each line of the chart a band, each contender in it a mark at its median on a stroke from its least to greatest.

    The scale is logarithmic, so that half and double lie equally far from 1, which is ours. Colours are of a middling
    lightness, and each contender's mark has a form of its own. Text takes the reader's light or dark scheme.
    """

    WIDTH = 900
    TOP = 74
    """Above the first band: title, legend."""
    LEFT, RIGHT = 320, 30
    """Beside the bands: the labels; room for the last mark."""
    GAP, PITCH = 12, 11
    """Between two bands, between two contenders of a band."""
    COLOURS = ("#3b82d6", "#d9730d", "#2f9e5b", "#b35bd1", "#d04a4a", "#8a8f98", "#0f9fb0")
    TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.85, 1, 1.2, 1.5, 2, 3, 5, 7, 10, 20, 50, 100, 200, 500, 1000)
    FEWEST = 34
    """Pixels between two labels of the scale."""

    def __init__(self, chart: Chart) -> None:
        self.chart = chart
        self.names = chart.contenders()
        self.lines = chart.lines()
        ends = [end for line in self.lines for ratio in line.ratios.values() for end in (ratio.least, ratio.greatest)]
        positive = [end for end in ends if end > 0.005]
        self.low, self.high = min([0.8, *positive]) / 1.08, max([1.25, *positive]) * 1.08

    def _x(self, ratio: float) -> float:
        part = log(max(ratio, self.low) / self.low) / log(self.high / self.low)
        return self.LEFT + part * (self.WIDTH - self.LEFT - self.RIGHT)

    def text(self) -> str:
        bands, bottom = self._bands()
        height = bottom + 44
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.WIDTH} {height}" width="{self.WIDTH}" '
                f'height="{height}" role="img" font-family="system-ui, sans-serif" font-size="13">',
                f"<title>{escape(self.chart.title)}</title>",
                "<style>text { fill: #24292f } .scale { stroke: #8884; fill: none } .ours { stroke: #24292f }",
                "@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .ours { stroke: #e6edf3 } }</style>",
                f'<text x="12" y="24" font-size="16" font-weight="600">{escape(self.chart.title)}</text>',
                *self._legend(),
                *self._scale(bottom),
                *bands,
                "</svg>\n",
            ]
        )

    def _legend(self) -> list[str]:
        parts, x = [], 18.0
        for at, name in enumerate(self.names):
            parts += [self._mark(at, x, 48), f'<text x="{x + 10:.0f}" y="52">{escape(name)}</text>']
            x += 32 + 7.4 * len(name)
        return parts

    def _scale(self, bottom: float) -> list[str]:
        parts, last = [], float("-inf")
        one = self._x(1)
        for tick in self.TICKS:
            x = self._x(tick)
            if not self.low <= tick <= self.high or x - last < self.FEWEST or 0 < abs(x - one) < self.FEWEST:
                continue
            last = x
            ours = tick == 1
            parts.append(
                f'<line class="{"ours" if ours else "scale"}" x1="{x:.1f}" x2="{x:.1f}" y1="{self.TOP - 6}" '
                f'y2="{bottom:.0f}"/>'
            )
            parts.append(f'<text x="{x:.1f}" y="{bottom + 16:.0f}" text-anchor="middle">{tick:g}</text>')
        said = (
            "times our cost: left of 1 the contender is cheaper, right of it dearer; marks are medians, strokes ranges"
        )
        return [*parts, f'<text x="12" y="{bottom + 36:.0f}" font-size="12">{said}</text>']

    def _bands(self) -> tuple[list[str], float]:
        parts = []
        y = float(self.TOP)
        for line in self.lines:
            label, ratios = line.label, line.ratios
            present = [name for name in self.names if name in ratios]
            height = self.PITCH * len(present)
            parts.append(
                f'<text x="{self.LEFT - 14}" y="{y + height / 2 + 4:.1f}" text-anchor="end">{escape(label)}</text>'
            )
            for name in present:
                at, ratio = self.names.index(name), ratios[name]
                middle = y + self.PITCH / 2
                parts.append(
                    f"<g><title>{escape(f'{label}: {name} {ratio}')}</title>"
                    f'<line x1="{self._x(ratio.least):.1f}" x2="{self._x(ratio.greatest):.1f}" y1="{middle:.1f}" '
                    f'y2="{middle:.1f}" stroke="{self._colour(at)}" stroke-width="2"/>'
                    f"{self._mark(at, self._x(ratio.median), middle)}</g>"
                )
                y += self.PITCH
            y += self.GAP
            between = f'x1="12" x2="{self.WIDTH - 12}" y1="{y - self.GAP / 2:.1f}" y2="{y - self.GAP / 2:.1f}"'
            parts.append(f'<line class="scale" {between}/>')
        return parts, y

    def _colour(self, at: int) -> str:
        return self.COLOURS[at % len(self.COLOURS)]

    def _mark(self, at: int, x: float, y: float) -> str:
        colour = self._colour(at)
        forms = (
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/>',
            f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" fill="{colour}"/>',
            f'<path d="M{x:.1f} {y - 5.5:.1f}l5.5 5.5l-5.5 5.5l-5.5 -5.5z" fill="{colour}"/>',
            f'<path d="M{x:.1f} {y - 5:.1f}l5 9h-10z" fill="{colour}"/>',
            f'<path d="M{x:.1f} {y + 5:.1f}l5 -9h-10z" fill="{colour}"/>',
            f'<path d="M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8" stroke="{colour}" stroke-width="2.5"/>',
            f'<path d="M{x:.1f} {y - 5:.1f}v10m-5 -5h10" stroke="{colour}" stroke-width="2.5"/>',
        )
        return forms[at % len(forms)]
