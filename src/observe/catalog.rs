//! Every metric of the orchestrator. Names are the original's where it has them; what a label may say
//! stands in its help text or in an enum. Source: observability §2.

use super::definition::{Definition, LONG, SHORT, counter, gauge, histogram};

macro_rules! catalog {
    ($all:ident, $what:literal: $($name:ident = $made:expr;)*) => {
        $(pub(super) const $name: Definition = $made;)*

        #[doc = $what]
        pub const $all: &[&Definition] = &[$(&$name,)*];
    };
}
pub(super) use catalog;

catalog! { ORCHESTRATOR, "Every metric that an orchestrator has besides those of its process.":
    BUILD = gauge("orchestrator_build_info", &["version"], "Always 1; the label says which version runs.");

    JOBS = counter("orchestrator_jobs_total", &["blueprint"], "Jobs created, children included, by blueprint.");
    JOBS_ENDED = counter("orchestrator_jobs_ended_total", &["blueprint", "outcome"], "Jobs ended, by blueprint and outcome: finished, failed, quarantined or cancelled.");
    JOBS_FAILED = counter("orchestrator_jobs_failed_total", &["blueprint", "reason"], "Jobs failed or quarantined, by blueprint and the engine's error code; `worker` stands for all codes of workers' own.");
    JOBS_RETRIED = counter("orchestrator_jobs_retried_total", &["blueprint"], "Ended jobs that somebody has set going again, by blueprint.");
    JOB_DURATION = histogram("orchestrator_job_duration_seconds", &["blueprint"], LONG, "Time from a job's creation to its end, by blueprint.");
    STATE_DURATION = histogram("orchestrator_state_duration_seconds", &["blueprint", "state"], LONG, "Time that a job stayed in a state, waits included, by blueprint and state.");
    TIMEOUTS = counter("orchestrator_jobs_timeouts_total", &["blueprint", "type"], "Tasks whose time ran out, by blueprint and type: dispatch (no worker took it), execution (it ran too long) or result (all tries together took too long).");

    QUEUE = gauge("orchestrator_task_queue_length", &["skill"], "Tasks that wait for a worker just now, by skill.");
    QUEUE_AGE = gauge("orchestrator_task_queue_oldest_seconds", &["skill"], "How long the oldest waiting task has waited, by skill; 0 when none waits.");
    DELAYED = gauge("orchestrator_tasks_delayed", &[], "Tasks that are not to be had before a later time: they back off after a failure.");
    LATENCY = histogram("orchestrator_task_dispatch_latency_seconds", &["skill"], LONG, "Time from a task's being queued to its lease, by skill.");
    DELIVERIES = counter("orchestrator_task_deliveries_total", &["skill"], "Leases given: tasks handed to a worker, every try counted, by skill.");
    TASK_DURATION = histogram("orchestrator_task_duration_seconds", &["skill"], LONG, "Time from a task's lease to its end, by skill.");
    TASKS_ENDED = counter("orchestrator_tasks_ended_total", &["skill", "status"], "Attempts at tasks ended, by skill and status: success, failure, cancelled or other (a blueprint's own).");
    RETRIES = counter("orchestrator_task_retries_total", &["blueprint", "reason"], "Tasks queued again, by blueprint and reason: failure or worker_lost.");
    IGNORED = counter("orchestrator_tasks_ignored_total", &["reason"], "Results that no longer counted, by reason.");
    LEASES = gauge("orchestrator_leases", &[], "Tasks with a worker just now, as this process knows.");
    LEASES_EXTENDED = counter("orchestrator_leases_extended_total", &[], "Leases extended by a sign of life of their worker.");
    LEASES_RELEASED = counter("orchestrator_leases_released_total", &[], "Leases given back because the task did not reach its worker.");

    WORKERS = gauge("orchestrator_active_workers", &["status"], "Workers that are known, by status.");
    SKILL_WORKERS = gauge("orchestrator_skill_workers", &["skill"], "Workers that take tasks of a skill just now, by skill; 0 for a skill that tasks wait for and nobody has.");
    POLLS = gauge("orchestrator_open_polls", &[], "Workers' polls that wait for a task just now.");
    REPUTATION = gauge("orchestrator_worker_reputation_ratio", &["statistic"], "Reputation over all known workers, from 0 to 1: its minimum and its mean.");
    EXCLUDED = gauge("orchestrator_workers_excluded", &[], "Known workers whose reputation is too low for tasks.");

    WEBHOOKS = counter("orchestrator_webhooks_total", &["outcome"], "Tries at webhooks, by outcome: delivered, retried (later) or dead (given up).");
    OUTBOX = gauge("orchestrator_outbox_messages", &[], "Messages to jobs and clients that are still to be delivered; counted up to 10,000.");

    COMMITS = counter("orchestrator_store_commits_total", &["outcome"], "Commits of jobs' steps, by outcome: stored, conflict (another was faster), refused (key or quota) or failed (the store's trouble).");
    STORE_LATENCY = histogram("orchestrator_store_operation_duration_seconds", &["operation"], SHORT, "Time that the store took to answer, by operation.");
    STORE_ERRORS = counter("orchestrator_store_errors_total", &["operation"], "Calls of the store that failed by its own trouble, by operation.");
    PART_UP = gauge("orchestrator_part_up", &["part"], "1 while the server answers, 0 during an outage, while it may drop jobs, or while the upkeep of the history fails, by part: store, history or files; a part that is not configured is missing.");
    PART_OUTAGES = counter("orchestrator_part_outages_total", &["part"], "Outages that have begun, by part.");
    HISTORY_BEHIND = gauge("orchestrator_history_rows_behind", &[], "Rows of history that the history server does not have yet; missing without one.");
    HISTORY_WITHHELD = counter("orchestrator_history_withheld_total", &["part"], "What the history's server refuses for good and has without its content, by part: event or job; the log names each.");
    S3 = counter("orchestrator_s3_operations_total", &["operation", "status"], "Transfers of files and large values, by operation (upload or download) and status (success or error).");
    S3_DURATION = histogram("orchestrator_s3_operation_duration_seconds", &["operation"], LONG, "Time that a transfer took, of a download to its first byte, by operation.");

    REQUESTS = counter("orchestrator_http_requests_total", &["audience", "status"], "Requests answered, by audience (client, worker or public) and class of status (2xx to 5xx; 1xx is a socket).");
    REQUEST_ERRORS = counter("orchestrator_http_errors_total", &["code"], "Error answers, by the API's error code.");
    RATE_LIMITED = counter("orchestrator_ratelimit_blocked_total", &["audience"], "Requests refused because there were too many, by audience.");
    AUTH_FAILURES = counter("orchestrator_security_auth_failures_total", &["reason"], "Callers refused, by reason: the API's error code.");
    TRIGGERED = counter("orchestrator_scheduler_jobs_triggered_total", &["blueprint"], "Jobs made by the embedded scheduler, by blueprint.");
    SCHEDULER_LAG = histogram("orchestrator_scheduler_lag_seconds", &[], LONG, "Time from a schedule's slot to its job.");
    SPANS = counter("orchestrator_trace_spans_total", &["outcome"], "Spans of traces, by outcome: exported, dropped (the queue was full) or failed (the collector did not take them); 0 while traces are off.");
    LOOP_LAG = gauge("orchestrator_loop_lag_seconds", &[], "How late a timer of one second was last: the process has too much to do when this grows.");
}

catalog! { PROCESS, "The figures of the process itself, which every role has. From /proc, so on Linux only.":
    CPU = counter("process_cpu_seconds_total", &[], "Total user and system CPU time spent in seconds.");
    FDS = gauge("process_open_fds", &[], "Number of open file descriptors.");
    FDS_MAX = gauge("process_max_fds", &[], "Maximum number of open file descriptors.");
    VIRTUAL = gauge("process_virtual_memory_bytes", &[], "Virtual memory size in bytes.");
    RESIDENT = gauge("process_resident_memory_bytes", &[], "Resident memory size in bytes.");
    START = gauge("process_start_time_seconds", &[], "Start time of the process since unix epoch in seconds.");
    THREADS = gauge("process_threads", &[], "Number of OS threads in the process.");
}
