from manifests import properties

#: The fixed names: customers' workflows stand on them.
FIXED = {
    "leadlight_score",
    "leadlight_probability",
    "leadlight_grade",
    "leadlight_reasons",
    "leadlight_confidence",
    "leadlight_send_hour",
    "leadlight_send_weekday",
    "leadlight_send_source",
    "leadlight_segment",
    "leadlight_holdout",
    "leadlight_model",
    "leadlight_scored_at",
}
OF_COMPANIES = ["leadlight_company_score", "leadlight_company_reasons"]


def test_every_fixed_property_stands_once_in_the_manifest() -> None:
    names = [entry.name for entry in properties()]
    assert set(names) == FIXED
    assert len(names) == len(FIXED)
    assert [entry.name for entry in properties("company")] == OF_COMPANIES


def test_every_property_of_a_predictor_is_in_the_manifest_and_the_other_way_round() -> None:
    from scoring.predictors import PREDICTORS

    for predictor in PREDICTORS:
        listed = {entry.name for entry in properties() if entry.predictor == predictor.name}
        assert listed == set(predictor.properties), predictor.name
    known = {predictor.name for predictor in PREDICTORS} | {"holdout", "run"}
    assert {entry.predictor for entry in properties()} == known


def test_a_property_has_one_object_and_each_its_own_name() -> None:
    every = [*properties(), *properties("company")]
    assert {entry.object for entry in properties()} == {"contact"}
    assert {entry.object for entry in properties("company")} == {"company"}
    for names in ([entry.name for entry in every], [entry.salesforce for entry in every]):
        assert len(names) == len(set(names))
    # what nothing else computes: from the lead scores of contacts
    assert {entry.predictor for entry in properties("company")} == {"companies"}


def test_a_category_has_options_unless_its_model_brings_them() -> None:
    for entry in properties():
        assert (entry.type == "category" and entry.name != "leadlight_segment") == bool(entry.options), entry.name


def test_options_are_added_once() -> None:
    segment = next(entry for entry in properties() if entry.name == "leadlight_segment")
    twice = segment.with_options((("s1", "Regulars"),)).with_options((("s1", "Regulars"), ("s2", "Lapsed")))
    assert twice.options == (("s1", "Regulars"), ("s2", "Lapsed"))
