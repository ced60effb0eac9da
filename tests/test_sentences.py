"""Sentences are short where a reader begins, and in the help of the commands."""

import pytest
from sentences import n_words, sentences, statistics
from test_docs import COMMAND, REFERENCE, ROOT

MAX_MEAN_WORDS = 16
MAX_WORDS = 35
GUIDES = ("index", "start", "concepts", "should-i-use-it", "use-it", "recipes", "other-networks")
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


def test_sentences_of_the_help_are_short():
    """The mean over the help of all commands and their options is at most 16 words."""
    commands = [command for _, command in REFERENCE.commands(COMMAND)]
    texts = [command.help.partition("\n\nExample")[0] for command in commands]
    texts += [param.help for command in commands for param in command.params if param.help]
    assert statistics("\n\n".join(texts)).mean_words <= MAX_MEAN_WORDS
