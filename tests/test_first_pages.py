"""Where a reader begins, sentences are short and each answer is near; the help is plain too."""

import re

import pytest
from sentences import n_words, sentences, statistics, stumbles
from test_docs import COMMAND, REFERENCE, ROOT, TEXTS, command_lines, shell, write_embeddings

MAX_MEAN_WORDS = 16
MAX_WORDS = 35
GUIDES = (
    "index",
    "start",
    "concepts",
    "should-i-use-it",
    "use-it",
    "recipes",
    "other-networks",
    "results",
)
CARDS = ("clip-vit-b-32", "clip-vit-b-32-centred")
PAGES = (
    "README.md",
    *(f"docs/{name}.md" for name in GUIDES),
    *(f"src/glocal/transform/pretrained/{name}/README.md" for name in CARDS),
)


def test_a_sentence_ends_where_a_reader_sees_it_end():
    """Code, tables, headings, pictures and targets of links are no words, and an item of a list is
    a sentence; decimals and "et al." end none.
    """
    text = """# A heading of five words

Read [the page](docs/page.md) by Fechner et al. (1860). It gives `a b c` .48 of $x y$,
and more.

| a | table |

![a picture](img/a.svg)

- one item
- another. With two sentences

```sh
a command
```
"""
    expected = ["Read the page by Fechner et al. (1860)", "It gives ` .48 of `, and more."]
    expected += ["one item", "another", "With two sentences"]
    assert sentences(text) == expected
    assert [n_words(sentence) for sentence in expected] == [8, 8, 2, 1, 3]
    assert statistics(text)[:2] == (5, 4.4)


@pytest.mark.parametrize("page", PAGES)
def test_sentences_of_the_first_pages_are_short(page):
    """Their mean is at most 16 words, and none has more than 35."""
    _, mean_words, longest = statistics((ROOT / page).read_text("utf-8"))
    assert mean_words <= MAX_MEAN_WORDS
    assert n_words(longest) <= MAX_WORDS, longest


def test_no_sentence_is_of_a_pattern_at_which_readers_stumbled():
    """Pages, but the log and lists of measurements, and the help have none of these patterns."""
    texts = {page: text for page, text in TEXTS.items() if page.name != "log.md"}
    assert {page.name: stumbles(text) for page, text in texts.items() if stumbles(text)} == {}
    assert stumbles("It agrees in .487, of .5, as whoever asks says.") != []


def test_sentences_of_the_help_are_short():
    """The mean over the help of all commands and their options is at most 16 words."""
    commands = [command for _, command in REFERENCE.commands(COMMAND)]
    texts = [command.help.partition("\n\nExample")[0] for command in commands]
    texts += [param.help for command in commands for param in command.params if param.help]
    assert statistics("\n\n".join(texts)).mean_words <= MAX_MEAN_WORDS


ANSWERS = {
    "many labels": "You have many labels a class",
    "class names": "## Class names",
    "DINOv2": "glocal align timm:vit_base_patch14_dinov2",
    "anomalies, with normal images only": "glocal anomaly normal.npy",
    "R": "read.csv(",
    "Windows": "Activate.ps1",
    "the table of the paper": "examples/paper.toml",
    "an objective of one's own": "class MarginLoss",
}


QUESTIONS = {
    "is it for me": "**Not for you**",
    "does it help my labelled images": "## Try it on your labels",
    "can I search with it": "## Search without a new index",
    "does it find anomalies": "## Find anomalies",
    "which of two networks agrees with my participants": "**Compare two networks.**",
    "can I go on in R": "## R and other programs",
    "how do I reproduce the paper": "## Where the paper's parts are",
    "what about my own network": "## Any other network",
}


def pages_within(links, page):
    """The pages that a reader of one reaches by following so many links."""
    if not links or page not in TEXTS:
        return {page} & {*TEXTS}
    names = re.findall(r"\]\(([\w/.-]+\.md)", TEXTS[page])
    nearer = [pages_within(links - 1, (page.parent / name).resolve()) for name in names]
    return {page}.union(*nearer)


@pytest.mark.parametrize("front", ["README.md", "docs/index.md"])
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_readers_find_their_answer_within_two_links(front, answer):
    """A page at most two links from the front page has what each of these readers looks for."""
    assert any(answer in TEXTS[page] for page in pages_within(2, ROOT / front))


@pytest.mark.parametrize("answer", QUESTIONS.values(), ids=QUESTIONS)
def test_the_readme_answers_eight_questions_within_one_link(answer):
    """The README, or a page that it links to, has the answer of each of these questions."""
    assert any(answer in TEXTS[page] for page in pages_within(1, ROOT / "README.md"))


def test_the_commands_of_the_readme_run(here, as_a_user):
    """Each command of the README that names a file runs, whether in a block or in a sentence."""
    text = TEXTS[ROOT / "README.md"]
    commands = [*command_lines(text), *re.findall(r"`(glocal [^`]*\.npy[^`]*)`", text)]
    assert commands
    write_embeddings()
    shell("\n".join(commands))
