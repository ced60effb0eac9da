"""Agreement with people: accuracy and loss on answers, and the ceilings that people set."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from glocal.data.answers import Answers
from glocal.errors import DataError
from glocal.evaluation.agreement import answer_credit, ceiling, heldout_rows, odd_one_out
from glocal.evaluation.intervals import answer_estimate

RNG = np.random.default_rng(1)
Z = RNG.normal(size=(15, 4))
RNG.normal(size=(15, 4))
ROWS = np.array([RNG.permutation(15)[:3] for _ in range(300)])
WEIGHTS = RNG.integers(0, 4, size=300)
ANSWERS = Answers.from_array(ROWS)
WIDE = Answers.from_array(np.array([RNG.permutation(15)[:5] for _ in range(200)]), kind="nearest-of-n")


def pairs_of(kind, row):
    a, b, *others = row
    if kind == "odd-one-out":
        return ((a, b), (a, others[0]), (b, others[0]))
    return ((a, b), *((a, other) for other in others))


def looped(Z, answers, similarity):
    """Credit and loss of each answer by plain Python."""
    credit, loss = [], []
    for row in answers.objects.tolist():
        dots = [float(Z[i] @ Z[j]) for i, j in pairs_of(answers.kind, row)]
        norms = [np.linalg.norm(Z[i]) * np.linalg.norm(Z[j]) for i, j in pairs_of(answers.kind, row)]
        decide = dots if similarity == "dot" else [d / n for d, n in zip(dots, norms, strict=True)]
        best = max(decide) - 1e-12
        credit.append((decide[0] >= best) / sum(one >= best for one in decide))
        loss.append(-math.log(math.exp(dots[0]) / sum(math.exp(d) for d in dots)))
    return np.array(credit), np.array(loss)


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("answers", [ANSWERS, Answers.from_array(ROWS, kind="anchor"), WIDE], ids=lambda one: one.kind)
def test_accuracy_and_loss_equal_explicit_loops(answers, similarity):
    """Accuracy is the weighted share of right choices; the loss is that of dot products whichever decides."""
    weights = RNG.uniform(size=len(answers))
    weighted = Answers.from_array(answers.objects, kind=answers.kind, weights=weights)
    credit, loss = looped(Z, answers, similarity)
    for given, w in ((answers, None), (weighted, weights)):
        score = odd_one_out(Z, given, similarity=similarity)
        assert score.accuracy == pytest.approx(np.average(credit, weights=w), rel=1e-12)
        assert score.loss == pytest.approx(np.average(loss, weights=w), rel=1e-12)
        ends = answer_estimate(credit, answers.objects, w).interval(fraction=True)
        assert (score.low, score.high) == pytest.approx(ends, rel=1e-9)
    candidates = len(pairs_of(answers.kind, answers.objects[0]))
    assert (score.n, score.tie_rate, score.chance) == (len(answers), 0.0, pytest.approx(1 / candidates))
    assert odd_one_out(Z, answers, interval=False).low is None


@pytest.mark.parametrize("answers", [ANSWERS, Answers.from_array(ROWS, kind="anchor"), WIDE], ids=lambda one: one.kind)
def test_a_collapsed_model_scores_chance(answers):
    """Where all objects are one point every answer is a tie, and accuracy and loss are those of guessing."""
    found = odd_one_out(np.ones((15, 2)), answers)
    assert (found.accuracy, found.tie_rate, found.loss) == pytest.approx((answers.chance, 1, answers.chance_loss))
    assert found.chance == answers.chance


def test_an_integer_weight_is_that_many_copies():
    """Accuracy, tie rate and loss under integer weights are those of the answers copied, ties among them."""
    tied = np.round(Z)  # whole numbers tie
    weighted = odd_one_out(tied, Answers.from_array(ROWS, weights=WEIGHTS), similarity="dot")
    copied = odd_one_out(tied, Answers.from_array(np.repeat(ROWS, WEIGHTS, axis=0)), similarity="dot")
    for name in ("accuracy", "tie_rate", "loss", "low"):
        assert getattr(weighted, name) == pytest.approx(getattr(copied, name), rel=1e-9)
    assert weighted.tie_rate > 0


def test_answers_drawn_at_random_score_chance():
    """Answers that know nothing of the embedding score 1/3 within their interval."""
    rng = np.random.default_rng(0)
    answers = np.array([rng.permutation(60)[:3] for _ in range(4000)])
    score = odd_one_out(rng.normal(size=(60, 8)), Answers.from_array(answers))
    assert score.low < 1 / 3 < score.high
    assert score.high - score.low < 0.2


def test_the_embedding_people_answer_by_scores_best(world):
    """The simulated people's own embedding agrees with them more than the features do."""
    mind = odd_one_out(world.mind, world.answers, similarity="dot", interval=False)
    features = odd_one_out(world.objects.standardization(world.objects.matrix), world.answers, interval=False)
    assert mind.accuracy > features.accuracy + 0.1
    assert mind.loss < math.log(3)


def test_float16_features_are_scored_in_float64():
    """Scores are computed in float64 whatever the dtype of the embedding."""
    half = Z.astype(np.float16)
    assert odd_one_out(half, ANSWERS) == odd_one_out(half.astype(np.float64), ANSWERS)


def test_answers_that_cannot_be_scored_are_refused(as_a_user):
    """No answer at all, one that names no row, or an index beyond the rows."""
    none, beyond = Answers.from_array(np.empty((0, 3), dtype=int)), Answers.from_array([[0, 1, 15]])
    for call, noun in (
        (lambda: odd_one_out(Z, none), "no answer"),
        (lambda: odd_one_out(Z, beyond), "object 15"),
        (lambda: answer_credit(Z, beyond), "object 15"),
    ):
        with pytest.raises(DataError, match=noun):
            call()


def test_arms_on_held_out_answers_are_rowed_beside_the_first():
    """Each arm has its accuracy and each but the first its paired difference, weighted, over objects."""
    given = Answers.from_array(ROWS, weights=WEIGHTS)
    arms = {name: answer_credit(Z[:, :p], given) for name, p in (("original", 4), ("two", 2), ("one", 1))}
    rows = heldout_rows(arms, given)
    assert [(row.transform, row.metric) for row in rows] == [
        *((name, "accuracy_cosine") for name in arms),
        ("two", "accuracy_cosine_difference"),
        ("one", "accuracy_cosine_difference"),
    ]
    values = [np.average(credit, weights=WEIGHTS) for credit in arms.values()]
    assert [row.value for row in rows] == pytest.approx([*values, values[1] - values[0], values[2] - values[0]])
    estimate = answer_estimate(arms["two"] - arms["original"], ROWS, given.weights)
    assert (rows[3].low, rows[3].high, rows[3].p) == pytest.approx((*estimate.interval(), estimate.p))
    assert {(row.task, row.split, row.n) for row in rows} == {("odd-one-out", "heldout", len(given))}


# --- ceilings


def drawn_answers():
    """About 8 answers to each of 25 questions, shuffled inside and among each other."""
    rows = []
    for members in np.array([RNG.permutation(12)[:3] for _ in range(25)]):
        share = RNG.dirichlet([1, 1, 1])
        for odd in RNG.choice(3, size=RNG.integers(2, 15), p=share):
            pair = RNG.permutation([k for k in range(3) if k != odd])
            rows.append([*members[pair], members[odd]])
    return RNG.permutation(np.array(rows))


REPEATED = drawn_answers()


def bounds_by_loops(rows):
    """Majority share of each question, and the credit of each answer by the majority of the other answers."""
    groups = defaultdict(list)
    for a, b, odd in rows.tolist():
        groups[tuple(sorted((a, b, odd)))].append(odd)
    shares, credits = [], []
    for odds in groups.values():
        if len(odds) < 2:
            continue
        shares.append(max(Counter(odds).values()) / len(odds))
        for place, odd in enumerate(odds):
            others = Counter(odds[:place] + odds[place + 1 :])
            most = [k for k, v in others.items() if v == max(others.values())]
            credits.append((odd in most) / len(most))
    return np.mean(shares), np.mean(credits), len(credits)


def test_both_bounds_equal_loops():
    """Majority share a question and leave-one-answer-out agreement, ties shared, are those of plain loops."""
    once = Answers.from_array(np.concatenate([REPEATED, [[12, 13, 14]]]))  # one answer says nothing of people
    for found in (ceiling(Answers.from_array(REPEATED)), ceiling(once)):
        majority, left_out = found.majority[0], found.leave_one_out[0]
        assert (majority, left_out, found.n_answers) == pytest.approx(bounds_by_loops(REPEATED))
        for value, low, high in (found.majority, found.leave_one_out):
            assert 0 <= low < value < high <= 1
        assert left_out < majority


@pytest.mark.parametrize(
    ("odds", "majority", "left_out"),
    [
        ([2, 2, 2], 1, 1),
        ([2, 2, 1], 2 / 3, (0.5 + 0.5 + 0) / 3),  # the rest of an answer 2 is {2, 1}: a tie
        ([2, 1], 1 / 2, 0),
        ([0, 1, 2], 1 / 3, 0),
        ([0, 0, 1, 1], 1 / 2, 0),
    ],
)
def test_bounds_on_paper(odds, majority, left_out):
    """On one question the bounds are those computed by hand; an integer weight is that many answers."""
    rows = [[*(k for k in range(3) if k != odd), odd] for odd in odds]
    different, counts = np.unique(rows, axis=0, return_counts=True)
    for answers in (Answers.from_array(rows), Answers.from_array(different, weights=counts)):
        found = ceiling(answers)
        assert (found.majority[0], found.leave_one_out[0]) == pytest.approx((majority, left_out))


def test_questions_asked_once_and_weights_that_are_no_counts_have_no_ceiling():
    """There is None where no question has two answers, and where half an answer would have to be left out."""
    assert ceiling(Answers.from_array([[0, 1, 2], [0, 1, 3]])) is None
    assert ceiling(Answers.from_array(REPEATED, weights=np.full(len(REPEATED), 0.5))) is None
    assert ceiling(Answers.from_array(np.empty((0, 3), dtype=int))) is None


@pytest.mark.parametrize("many", [10**6, 100], ids=["all", "a part of the questions first"])
def test_a_few_repeated_questions_have_no_ceiling(monkeypatch, many):
    """Where less than the share asked for was answered twice there is None, and the same bounds where it was."""
    monkeypatch.setattr("glocal.evaluation.agreement._MANY", many)
    monkeypatch.setattr("glocal.evaluation.agreement._PART", 2)
    once = np.array([RNG.permutation(1000)[:3] for _ in range(4000)])
    assert ceiling(Answers.from_array(np.concatenate([REPEATED, once])), least=0.1) is None
    assert ceiling(Answers.from_array(REPEATED), least=0.9).majority == ceiling(Answers.from_array(REPEATED)).majority


def test_the_ceiling_of_a_kind_counts_its_alternatives():
    """Of a question about a reference the alternatives may come in any order; the reference stays one."""
    found = ceiling(Answers.from_array([[0, 1, 2, 3], [0, 1, 3, 2], [0, 2, 1, 3], [1, 0, 2, 3]], kind="nearest-of-n"))
    assert (found.majority[0], found.n_answers) == (pytest.approx(2 / 3), 3)


def test_people_who_answer_at_random_leave_a_cautious_bound_of_chance():
    """Without agreement leave-one-out is 1/3 within its interval, and the majority share is optimistic."""
    rng = np.random.default_rng(1)
    sets = np.array([rng.permutation(60)[:3] for _ in range(300)])
    found = ceiling(Answers.from_array(rng.permuted(np.repeat(sets, 20, axis=0), axis=1)))
    assert found.leave_one_out[1] < 1 / 3 < found.leave_one_out[2]
    assert found.majority[1] > 0.4


@pytest.mark.data
def test_the_published_repeated_answers_have_their_ceiling(data_dir):
    """500 questions of about 20 answers: majority share 0.6717, leave-one-answer-out 0.6426."""
    answers = Answers.load(data_dir / "things/repeated_answers.csv")
    found = ceiling(answers)
    assert found.majority[0] == pytest.approx(0.6717, abs=5e-5)
    assert found.leave_one_out[0] == pytest.approx(0.6426, abs=5e-5)
    assert (found.n_answers, answers.n_people) == (9988, 325)
    spose = odd_one_out(np.load(data_dir / "things/spose_49d.npy"), answers, similarity="dot")
    assert 0.8 < (spose.accuracy - 1 / 3) / (found.leave_one_out[0] - 1 / 3) < 1.1
