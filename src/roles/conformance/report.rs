//! What a conformance run says: numbered rules, what became of each, and what was seen.

use serde_json::{Value, json};

use crate::roles::exit::Exit;
use crate::roles::printer::{Output, Printer, Table, visible};

/// Longest evidence that is told, in characters; a peer may send megabytes.
const EVIDENCE_MAX: usize = 400;

/// A rule of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// `O-01`, `W-01`; never given to another rule.
    pub id: &'static str,
    /// Where the wire protocol has it.
    pub section: &'static str,
    /// One sentence without its full stop.
    pub text: &'static str,
}

/// Why a rule was not seen to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Miss {
    /// It was seen not to hold: what was seen and what was expected.
    Broken(String),
    /// Nothing was seen of it: why.
    Unseen(String),
}

/// Makes a miss of what was seen and what was expected.
pub fn broken(seen: impl std::fmt::Display, expected: &str) -> Miss {
    Miss::Broken(format!("saw {seen}; expected {expected}"))
}

/// Makes a miss of the reason why nothing could be seen.
pub fn unseen(reason: impl Into<String>) -> Miss {
    Miss::Unseen(reason.into())
}

/// What a check brings: what was seen when the rule held, else why not.
pub type Outcome = Result<String, Miss>;

/// What became of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was seen to hold.
    Pass,
    /// It was seen not to hold.
    Fail,
    /// The run had nothing to judge by.
    NotObserved,
}

impl Verdict {
    /// Returns the word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::NotObserved => "not observed",
        }
    }
}

/// A rule with its verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// What became of it.
    pub verdict: Verdict,
    /// What was seen, and what was expected where that differs.
    pub evidence: String,
}

impl Finding {
    /// Judges an outcome. No secret of the run reaches the evidence.
    #[must_use]
    pub fn new(rule: Rule, outcome: Outcome, secrets: &[&str]) -> Self {
        let (verdict, mut evidence) = match outcome {
            Ok(seen) => (Verdict::Pass, seen),
            Err(Miss::Broken(seen)) => (Verdict::Fail, seen),
            Err(Miss::Unseen(why)) => (Verdict::NotObserved, why),
        };
        for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
            evidence = evidence.replace(secret, "…");
        }
        if evidence.chars().count() > EVIDENCE_MAX {
            evidence = evidence.chars().take(EVIDENCE_MAX).collect::<String>() + "…";
        }
        Self {
            rule,
            verdict,
            evidence,
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "id": self.rule.id,
            "rule": self.rule.text,
            "section": self.rule.section,
            "verdict": self.verdict.as_str(),
            "evidence": self.evidence,
        })
    }
}

/// All findings of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// `orchestrator` or `worker`.
    pub target: &'static str,
    /// In the order of the rules' ids.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Puts the findings in order.
    #[must_use]
    pub fn new(target: &'static str, mut findings: Vec<Finding>) -> Self {
        findings.sort_by_key(|finding| finding.rule.id);
        Self { target, findings }
    }

    /// Returns the ids of the rules with a verdict.
    #[must_use]
    pub fn ids(&self, verdict: Verdict) -> Vec<&'static str> {
        self.findings
            .iter()
            .filter(|finding| finding.verdict == verdict)
            .map(|finding| finding.rule.id)
            .collect()
    }

    /// Returns how the program ends: 1 when a rule was broken.
    #[must_use]
    pub fn exit(&self) -> Exit {
        if self.ids(Verdict::Fail).is_empty() {
            Exit::Ok
        } else {
            Exit::JobFailed
        }
    }

    /// Returns the report as one document.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let checks: Vec<Value> = self.findings.iter().map(Finding::to_json).collect();
        json!({
            "target": self.target,
            "passed": self.ids(Verdict::Pass).len(),
            "failed": self.ids(Verdict::Fail).len(),
            "not_observed": self.ids(Verdict::NotObserved).len(),
            "checks": checks,
        })
    }

    /// Writes the report: a table and what was seen of the rest, one document, or a line for each
    /// check.
    pub fn print(&self, printer: &Printer) {
        match printer.output() {
            Output::Text => printer.text(&self.text()),
            Output::Json => printer.value(&self.to_json()),
            Output::Jsonl => {
                let lines = self.findings.iter().map(Finding::to_json);
                lines.for_each(|line| printer.value(&line));
            }
        }
    }

    fn text(&self) -> String {
        let mut table = Table::new(&["CHECK", "VERDICT", "SECTION", "RULE"]);
        for finding in &self.findings {
            let rule = finding.rule;
            table.row(&[
                rule.id.to_owned(),
                finding.verdict.as_str().to_owned(),
                rule.section.to_owned(),
                rule.text.to_owned(),
            ]);
        }
        let mut text = table.render();
        for finding in &self.findings {
            if finding.verdict != Verdict::Pass {
                let evidence = visible(&finding.evidence);
                let (id, verdict) = (finding.rule.id, finding.verdict.as_str());
                text.push_str(&format!("\n{id} {verdict}: {evidence}\n"));
            }
        }
        text.push_str(&format!(
            "\n{}: {} passed, {} failed, {} not observed\n",
            self.target,
            self.ids(Verdict::Pass).len(),
            self.ids(Verdict::Fail).len(),
            self.ids(Verdict::NotObserved).len()
        ));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn rule(id: &'static str) -> Rule {
        Rule {
            id,
            section: "§1",
            text: "answers come",
        }
    }

    fn report() -> Report {
        let findings = [
            ("O-03", Err(unseen("it takes too long"))),
            ("O-02", Err(broken("key s3cret", "none"))),
            ("O-01", Ok("200".to_owned())),
        ];
        let findings = findings.map(|(id, outcome)| Finding::new(rule(id), outcome, &["s3cret"]));
        Report::new("orchestrator", findings.to_vec())
    }

    #[test]
    fn the_text_tells_what_did_not_pass() {
        insta::assert_snapshot!(report().text(), @r"
        CHECK  VERDICT       SECTION  RULE
        O-01   pass          §1       answers come
        O-02   fail          §1       answers come
        O-03   not observed  §1       answers come

        O-02 fail: saw key …; expected none

        O-03 not observed: it takes too long

        orchestrator: 1 passed, 1 failed, 1 not observed
        ");
    }

    #[test]
    fn one_broken_rule_is_a_failure() {
        let mut report = report();
        assert_eq!(report.exit(), Exit::JobFailed);
        report
            .findings
            .retain(|finding| finding.verdict != Verdict::Fail);
        assert_eq!(report.exit(), Exit::Ok);
        assert_eq!(report.to_json()["checks"][1]["verdict"], "not observed");
    }
}
