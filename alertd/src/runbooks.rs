//! The page that a person reads when an alert wakes them: one for each alert that comes with the
//! program.

/// Alert name and page in Markdown, sorted by name.
pub const PAGES: &[(&str, &str)] = &[
    ("AlertFlapping", include_str!("../../runbooks/AlertFlapping.md")),
    ("DatasourceDown", include_str!("../../runbooks/DatasourceDown.md")),
    ("GithubBudgetLow", include_str!("../../runbooks/GithubBudgetLow.md")),
    ("JobHangs", include_str!("../../runbooks/JobHangs.md")),
    ("JobQueueTimeHigh", include_str!("../../runbooks/JobQueueTimeHigh.md")),
    ("JobsWithoutRunner", include_str!("../../runbooks/JobsWithoutRunner.md")),
    ("NotificationsFailing", include_str!("../../runbooks/NotificationsFailing.md")),
    ("QueueConsumersDead", include_str!("../../runbooks/QueueConsumersDead.md")),
    ("QueueDeadLetters", include_str!("../../runbooks/QueueDeadLetters.md")),
    ("QueueGrowing", include_str!("../../runbooks/QueueGrowing.md")),
    ("QueueMissing", include_str!("../../runbooks/QueueMissing.md")),
    ("QueuePendingStuck", include_str!("../../runbooks/QueuePendingStuck.md")),
    ("QueuePoison", include_str!("../../runbooks/QueuePoison.md")),
    ("QueueServerDown", include_str!("../../runbooks/QueueServerDown.md")),
    ("QueueStuck", include_str!("../../runbooks/QueueStuck.md")),
    ("RulesFailing", include_str!("../../runbooks/RulesFailing.md")),
    ("RunnerDisagreement", include_str!("../../runbooks/RunnerDisagreement.md")),
    ("RunnerHighCPU", include_str!("../../runbooks/RunnerHighCPU.md")),
    ("RunnerHighMemory", include_str!("../../runbooks/RunnerHighMemory.md")),
    ("RunnerOffline", include_str!("../../runbooks/RunnerOffline.md")),
    (
        "RunnerPerformanceDegradation",
        include_str!("../../runbooks/RunnerPerformanceDegradation.md"),
    ),
    ("TargetDown", include_str!("../../runbooks/TargetDown.md")),
    ("Watchdog", include_str!("../../runbooks/Watchdog.md")),
    ("WorkflowFailed", include_str!("../../runbooks/WorkflowFailed.md")),
    ("WorkflowKeepsFailing", include_str!("../../runbooks/WorkflowKeepsFailing.md")),
];

/// The page of an alert, by the name of its file: `RunnerOffline.md`.
pub fn page(file: &str) -> Option<&'static str> {
    let alert = file.strip_suffix(".md")?;
    PAGES.iter().find(|(name, _)| *name == alert).map(|(_, page)| *page)
}
