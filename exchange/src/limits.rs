//! Every bound of the protocol, with its unit and its reason. What a law bounds is dated data in `credit`, not here.

/// Largest frame between members: an answer of 64 records with 30 fields each stays below 300 KiB.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024;
/// Largest frame an operator may send to its own node: a part of a file, and what stands around it.
pub const OPERATOR_FRAME_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Largest frame a node sends to its operator: a relayed answer, sealed and opened.
pub const OPERATOR_RESPONSE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Largest part of a file that is handed in: large enough that waiting for the node's word costs nothing.
pub const FILE_PART_BYTES_MAX: usize = 1024 * 1024;
/// Time for which answers to one asker share an encapsulated key: it costs as much as half an answer, and whoever takes
/// it out of a node's memory reads no other answers than those of this time.
pub const EPOCH_MS: u64 = 60_000;
/// Most records in one answer; beyond it the newest are given and the answer says that there are more.
pub const RECORDS_PER_ANSWER_MAX: usize = 64;
/// Records of one subject and item that are looked at for an answer: bounds the work of one question.
pub const RECORDS_SCANNED_MAX: usize = 4_096;
/// Largest relayed answer an asker reads: every member's answer at its largest, for a federation of a dozen.
pub const RELAYED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most entries in one `Pull`: with the longest entries still below one frame.
pub const ENTRIES_PER_PULL_MAX: u64 = 512;
/// Bytes of entries after which a `Pull` stops, whatever their number.
pub const PULL_BYTES_MAX: usize = 512 * 1024;
/// Time between two pulls of the same log. The push brings a repair at once; this bounds how long a lost push
/// can go unnoticed.
pub const SYNC_INTERVAL_MS: u64 = 2_000;
/// Time between two requests to the same witness about the same log: under load one cosignature covers a second's entries.
pub const WITNESS_INTERVAL_MS: u64 = 1_000;
/// Time between two peers being asked for the heads they have seen: with n peers a split view is met within n rounds.
pub const GOSSIP_INTERVAL_MS: u64 = 2_000;
/// Time between two proofs asked for about one log because of what somebody else has sent.
pub const PROOF_INTERVAL_MS: u64 = 1_000;
/// Members asked in turn for one proof: the owner, and then who keeps a copy.
pub const PROVERS_MAX: usize = 4;
/// Most pieces of evidence told in one answer: with 64 hashes each they fit a frame beside the heads of every log.
pub const EVIDENCE_PER_ANSWER_MAX: usize = 64;
/// Most by which an application may be dated ahead and be asked for again: a counter's clock is wrong by minutes, or wrong.
pub const AHEAD_MS_MAX: u64 = 60 * 60 * 1000;
/// First wait before a delivery is tried again; doubles up to [`RETRY_MS_MAX`].
pub const RETRY_MS_MIN: u64 = 500;
/// Longest wait between two tries: a member that comes back is served within a minute.
pub const RETRY_MS_MAX: u64 = 60_000;
/// How long after its start a member reports nobody as late: a try, and one more where an answer was lost.
pub const QUIET_MS: u64 = 2 * RETRY_MS_MAX;
/// Deliveries taken up in one tick, so that a tick's batch stays small.
pub const DELIVERIES_PER_TICK_MAX: usize = 256;
/// Records in one submission batch entry; longer files are cut into several batches.
pub const RECORDS_PER_BATCH_MAX: usize = 10_000;
/// Earlier versions of a record with which an amendment is compared: more corrections than any matter has seen.
pub const EARLIER_VERSIONS_MAX: usize = 256;
/// Document numbers an operator may confirm with one file: each was looked at by a person.
pub const CONFIRMED_NUMBERS_MAX: usize = 200;
/// Most members of a federation: the three provinces and one city have fewer than 60 prefectures and districts.
pub const MEMBERS_MAX: usize = 256;
/// Most generations of keys that a member has had before: one a year for longer than any record is kept.
pub const PAST_KEYS_MAX: usize = 15;
/// Longest reason or text an operator may put into an entry, in bytes.
pub const REASON_BYTES_MAX: usize = 200;
/// Records erased in one step: their entries stay below half a megabyte, and the writer's other callers wait for
/// milliseconds. Longer lists are cut by the caller.
pub const RECORDS_PER_ERASURE_MAX: usize = 1_000;
/// Versions one erasure certificate may prove: with its path each takes less than 1.5 KiB, so that a certificate fits
/// the frame an operator's answer may have many times over.
pub const VERSIONS_PER_CERTIFICATE_MAX: usize = 10_000;
/// Bytes of a backup handed over in one answer: few round trips, and little to hold at either end.
pub const BACKUP_PART_BYTES: usize = 4 * 1024 * 1024;
/// Questions one asker may ask a node in a second, on average: the largest bank's counters ask tens, so that this is met by
/// a program that has run wild, and by nobody else before the node itself is full.
pub const QUESTIONS_PER_SECOND_MAX: u64 = 1_000;
/// Questions one asker may ask at once after it was silent: one second's worth, a list of customers at the day's begin.
pub const QUESTIONS_BURST_MAX: u64 = 1_000;
/// Records one member may push here in a second, on average: a province's decisions about companies of another are tens a day,
/// and a file of years is through within the hour. Each is two entries and some kilobytes for ever.
pub const PUSHES_PER_SECOND_MAX: u64 = 5;
/// Records one member may push at once after it was silent: a file of the largest city for one province. What is turned away
/// comes again, a minute later at most.
pub const PUSHES_BURST_MAX: u64 = 500;
/// Applications for repair and objections that one counter may bring an authority in a second, on average: the counters of a
/// province take some hundreds a day. Each is an entry for ever, and an objection marks a record besides.
pub const APPLICATIONS_PER_SECOND_MAX: u64 = 1;
/// Applications one counter may bring at once after it was silent: what a province has taken while the authority was away for
/// a day. What is turned away stays at the counter and comes again, a minute later at most.
pub const APPLICATIONS_BURST_MAX: u64 = 200;
/// Time in which questions of one asker, brought by one member and refused with one code, leave one line in the access log: a
/// flood leaves as many lines in a day as there are minutes, and each says how many questions it stands for.
pub const TURNED_AWAY_MS: u64 = 60_000;
/// Time after a question's deadline in which it may be asked again for what was decided in time: a member or the outlet
/// was away, and is back. Who has not decided by the deadline does not any more.
pub const ASK_AGAIN_MS_MAX: u64 = 24 * 60 * 60 * 1000;
/// Wait told with `node.busy` where nothing better is known: a full queue is worked off in less, and a node that stops
/// for a new start takes a few of them.
pub const RETRY_BUSY_MS: u64 = 1_000;
/// Largest encoded registry.
pub const REGISTRY_BYTES_MAX: usize = 512 * 1024;
/// Time between two peers being reconciled with, each in its turn. With n peers whatever any of them has verified is
/// known here after n times as long, even when its author is away.
pub const RECONCILE_INTERVAL_MS: u64 = 5_000;
/// Comparisons of one authority in a row, while each mends something.
pub const RECONCILE_ROUNDS_MAX: usize = 16;
