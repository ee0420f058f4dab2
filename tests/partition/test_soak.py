"""A share of the soak; the whole of it is `python -m benchmarks.server_soak --requests 200000`."""

from __future__ import annotations

from benchmarks.server_soak.__main__ import soak

SECONDS = 20.0


def test_no_request_is_lost_while_the_server_dies_and_the_link_is_cut(tiny):
    report = soak(10**9, SECONDS, tiny.path)
    print(report)
    assert report["lost"] == report["wrong"] == 0, report
    assert report["kills"] >= 2
    assert report["resets"] + report["blackouts"] >= 2
    assert report["served_by_cloud"] > 100
    assert report["served_by_edge"] > 100
