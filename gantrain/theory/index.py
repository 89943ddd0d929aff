"""The page that shows a folder's figures, opened from disk: picture, caption, source, links to the numbers."""

from html import escape

from gantrain.theory.page import TheoryFigure

_STYLE = (
    "body{max-width:1100px;margin:2em auto;padding:0 1em;font:16px/1.5 sans-serif;color:#111;background:#fff}"
    "figure{margin:3em 0}img{width:100%;height:auto}figcaption{font-size:15px}.source{color:#555;font-size:14px}"
)


def as_html(figures: list[TheoryFigure], command: str) -> str:
    """One page of all figures, without anything from a network.

    Args:
        figures: saved in the page's folder.
        command: what made them, for the reader to repeat.
    """
    parts = [
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">',
        f"<title>gantrain: theory</title>\n<style>{_STYLE}</style>",
        "<h1>What the theory predicts</h1>",
        "<p>Computed from the objectives that training uses. q is the data's density, p the generator's, r = q/p, v "
        f"the discriminator's logit, D = σ(log r). Made by <code>{escape(command)}</code>.</p>",
    ]
    for figure in figures:
        name, title = escape(figure.name), escape(figure.title)
        tables = [f"{figure.name}-{key}.csv" if key else f"{figure.name}.csv" for key in figure.tables]
        links = ", ".join(f'<a href="{escape(file)}">{escape(file)}</a>' for file in (f"{figure.name}.svg", *tables))
        parts.append(
            f'<figure id="{name}">\n<h2>{name.partition("-")[0]}. {title}</h2>\n'
            f'<a href="{name}.svg"><img src="{name}.png" alt="{title}"></a>\n'
            f"<figcaption>{escape(figure.caption)}</figcaption>\n"
            f'<p class="source">Source: {escape(figure.source)}<br>Files: {links}</p>\n</figure>'
        )
    return "\n".join([*parts, "</html>"]) + "\n"
