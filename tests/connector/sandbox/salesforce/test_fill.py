"""What an org is filled with."""

from datetime import timedelta
from pathlib import Path

from connector.sandbox import SandboxOptions
from connector.sandbox.salesforce.fill import org


def test_rows_of_a_file_are_leads_of_thirty_days_ago(tmp_path: Path) -> None:
    (tmp_path / "bank.csv").write_text("age,job,y\n30,clerk,yes\n40,miller,no\n", encoding="utf-8")
    mapping = tmp_path / "mapping.toml"
    mapping.write_text('[contacts]\nfile = "bank.csv"\n[goal]\ncolumn = "y"\nequals = "yes"\n', encoding="utf-8")
    made = org(SandboxOptions(platform="salesforce", mapping=mapping))
    rows = made.engine.sql("select * from Lead order by Id").to_arrow_table().to_pylist()
    assert [(row["age__c"], row["job__c"], row["y__c"]) for row in rows] == [
        (30.0, "clerk", "yes"),
        (40.0, "miller", "no"),
    ]
    assert made.objects["lead"].get("y__c").type == "string"  # type: ignore[union-attr]
    for row in rows:
        assert timedelta(days=30) <= made.now() - row["SystemModstamp"] < timedelta(days=30, minutes=1)
        assert row["CreatedDate"] == row["SystemModstamp"]
    assert made.objects["lead"].get("Leadlight_Score__c") is not None


def test_a_bare_org_has_none_of_our_fields() -> None:
    made = org(SandboxOptions(platform="salesforce", bare=True))
    assert made.objects["lead"].get("Leadlight_Score__c") is None


def test_the_market_has_converted_leads_whose_deals_hang_on_the_contact() -> None:
    made = org(SandboxOptions(platform="salesforce", contacts=300))

    def count(query: str) -> int:
        return int(made.engine.sql(f"select count(*) from {query}").fetchall()[0][0])

    assert count("Lead where IsConverted") > 20
    assert count("Lead where IsConverted and ConvertedContactId not in (select Id from Contact)") == 0
    assert count("Lead where IsConverted and ConvertedOpportunityId is null") == 0
    assert count("Lead where not IsConverted and ConvertedContactId is not null") == 0
    assert count("OpportunityContactRole where ContactId not in (select Id from Contact)") == 0
    opened = "EmailMessage where FirstOpenedDate >= MessageDate and IsOpened"
    assert count(opened) > 500
    assert count("OpportunityHistory h join Opportunity o on o.Id = h.OpportunityId where o.IsWon") > 20
    for name in ("Task", "Event"):
        assert count(f"{name} where WhoId not in (select Id from Lead union all select Id from Contact)") == 0
