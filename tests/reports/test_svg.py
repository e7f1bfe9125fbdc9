import xml.etree.ElementTree as ET

from ayni.reports.svg import svg_figure, svg_text

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = '</svg><script>alert("1")</script> & \' {{ 7*7 }}'


def test_a_figure_is_named_and_described_and_its_text_stays_text() -> None:
    drawn = svg_figure(
        [svg_text(1, 2, HOSTILE)], key="one", title=HOSTILE, description="Two bars.", width=460, height=300
    )

    root = ET.fromstring(str(drawn).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))
    assert root.get("aria-labelledby") == "one-title one-desc"
    assert root.get("viewBox") == "0 0 460 300"
    assert [child.tag for child in root] == [f"{SVG}title", f"{SVG}desc", f"{SVG}text"]
    assert [child.text for child in root] == [HOSTILE, "Two bars.", HOSTILE]
