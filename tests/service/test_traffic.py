"""Bytes of links that come and go: the sum never falls, and forgets no link."""

from dataclasses import dataclass

from tacita.service.traffic import LinkCounts, Traffic


@dataclass
class Link:
    usable: bool = True
    sent_bytes: int = 0
    received_bytes: int = 0


def test_nobody_was_ever_connected():
    assert Traffic().total("bob") == LinkCounts(up=False, sent=0, received=0)


def test_links_that_follow_each_other_are_added_up():
    traffic, first, second = Traffic(), Link(), Link()
    traffic.add("bob", first)
    first.sent_bytes, first.received_bytes = 100, 10
    assert traffic.total("bob") == LinkCounts(True, 100, 10)
    first.sent_bytes, first.usable = 150, False
    assert traffic.total("bob") == LinkCounts(False, 150, 10)
    traffic.add("bob", second)
    second.sent_bytes, second.received_bytes = 7, 8
    assert traffic.total("bob") == LinkCounts(True, 157, 18)
    assert traffic.total("bob") == LinkCounts(True, 157, 18)


def test_a_link_that_came_and_went_between_two_looks_counts():
    traffic, link = Traffic(), Link()
    traffic.add("bob", link)
    link.sent_bytes, link.usable = 5, False
    for _ in range(3):
        traffic.add("bob", Link())
    assert traffic.total("bob") == LinkCounts(True, 5, 0)


def test_peers_are_counted_apart_and_ended_links_are_let_go():
    traffic = Traffic()
    links = [Link(sent_bytes=number) for number in range(20)]
    for number, link in enumerate(links):
        traffic.add("bob" if number % 2 else "dana", link)
        link.usable = False
    assert traffic.total("bob").sent == sum(range(1, 20, 2))
    assert traffic.total("dana").sent == sum(range(0, 20, 2))
    assert not traffic._live
