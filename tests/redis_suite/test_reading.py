"""What the suite says is read as it was meant, and compared with what is listed."""

from tests.redis_suite.running import Outcome, Unit, faults, read

OUTPUT = """Cleanup: may take some time... OK
\x1b[1;37;49mTesting unit/type/list\x1b[0m
[\x1b[0;32;49mok\x1b[0m]: LPOS basic usage - listpack (12 ms)
[\x1b[0;31;49merr\x1b[0m]: LPUSH against wrong type in tests/unit/type/list.tcl
Expected 'a' to be equal to 'b' (context: type eval line 3)
[\x1b[0;31;49merr\x1b[0m]: Expected 'listpack' to match 'quicklist' (context: type source line 98)
    while executing
[\x1b[0;36;49mignore\x1b[0m]: large memory flag not provided
[\x1b[0;32;49mok\x1b[0m]: LINSERT (once more) (3 ms)
[\x1b[0;32;49mok\x1b[0m]: LPUSH against wrong type (3 ms)
[1/1 \x1b[0;33;49mdone\x1b[0m]: unit/type/list (2 seconds)

                   The End

*** [\x1b[0;31;49merr\x1b[0m]: something else in tests/unit/type/list.tcl
"""


def unit(**expected: str) -> Unit:
    return Unit("unit/type/list", "8.0", False, False, "", expected, {})


def test_a_test_of_which_one_run_failed_has_failed() -> None:
    outcome = read(OUTPUT, "unit/type/list")
    assert outcome.is_whole
    assert outcome.passed == {"LPOS basic usage - listpack", "LINSERT (once more)"}
    assert list(outcome.failed) == [
        "LPUSH against wrong type",
        "outside of a test: Expected 'listpack' to match 'quicklist'",
    ]
    assert "Expected 'a' to be equal to 'b'" in outcome.failed["LPUSH against wrong type"]


def test_a_unit_that_breaks_off_is_not_whole() -> None:
    assert not read(OUTPUT.partition("[1/1")[0], "unit/type/list").is_whole


def test_what_is_listed_must_fail_and_nothing_else() -> None:
    outcome = Outcome({"passes"}, {"fails": "[err]: fails"}, is_whole=True)
    assert faults(unit(fails="a reason"), outcome) == ""
    assert faults(unit(), outcome).startswith("failed, and is not listed: fails\n")
    assert faults(unit(fails="a reason", passes="a reason"), outcome) == "is listed, and passed: passes"
    assert faults(unit(fails="a reason", gone="a reason"), outcome) == "is listed, and was not run: gone"


def test_what_breaks_off_is_a_fault() -> None:
    assert faults(unit(), Outcome(output="[exception]: killed")).endswith("[exception]: killed")


def test_a_bug_is_a_fault_whatever_the_tests_say() -> None:
    outcome = Outcome({"passes"}, is_whole=True, bugs=["ERROR bug: ZMPOP failed: TypeError"])
    assert faults(unit(), outcome) == "the node noted ERROR bug: ZMPOP failed: TypeError"
