"""What the laws say in words: the same rows for every setting, with the numbers of the prediction."""

from ropediag.analysis.theory_words import describe_retrieval, describe_theory
from ropediag.prediction import predict
from ropediag.retrieval_bound import SEARCHED

LLAMA2 = {"pretrain_base": 1e4, "train_len": 4096, "rotary_dim": 128, "retrieval": False}


def test_every_setting_has_the_same_rows():
    tuned = describe_theory(predict(base=1e6, target_len=131072, **LLAMA2))
    free = describe_theory(predict(base=500.0, tune_len=4096, **LLAMA2))
    assert list(tuned) == list(free)
    assert tuned["Critical dimension"] == "92 of 128: pairs 0 to 45 made a full turn"
    assert tuned["Predicted limit"] == "129,027 tokens (assumes tuning)"
    assert tuned["At the target"] == "131,072 tokens: 3 pairs meet unseen angles"
    assert tuned["Base needed"] == "1,022,122 when tuned at 4,096, plain RoPE"
    assert tuned["To be cautious"] == "1,378,415, without the law's ceiling"
    assert (free["Predicted limit"], free["At the target"]) == ("no bound", "no target set")
    assert free["Breaks first"] == "no pair: all that turn were trained"


def test_a_target_that_tuning_covers_needs_no_base():
    found = describe_theory(predict(base=1e4, tune_len=16384, target_len=16384, **LLAMA2))
    assert (found["Base needed"], found["To be cautious"]) == ("none needed", "none needed")
    assert found["At the target"] == "16,384 tokens: the law allows it"


def test_bases_for_retrieval_are_searched_up_to_a_length():
    searched = predict(base=1e6, target_len=65536, **LLAMA2)
    assert describe_retrieval(searched) == (
        "base 2.1e6 keeps B_m >= 0 up to 65,536, and every searched base from 5.6e6 on"
    )
    far = predict(base=1e6, target_len=SEARCHED + 1, **(LLAMA2 | {"retrieval": True}))
    assert describe_retrieval(far) == "targets above 4,194,304 are not searched"
    assert far.target.retrieval_base is None
    assert "up to 4,194,304 tokens only" in far.notes[0]
    assert describe_retrieval(predict(base=1e6, **LLAMA2)) == "no target set"
