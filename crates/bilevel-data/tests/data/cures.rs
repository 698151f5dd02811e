/// Verbs with which a remedy begins.
const CURES: &[&str] = &[
    "add", "ask", "check", "convert", "copy", "correct", "fetch", "give", "keep", "leave", "make",
    "name", "pass", "repair", "save", "sort", "split", "take", "unpack", "write",
];

/// Whether a clause of a message, after a `;` or a `:`, says what to do.
pub fn has_cure(message: &str) -> bool {
    let clauses = message.split("; ").skip(1).chain(message.split(": ").skip(1));
    let mut first = clauses.filter_map(|clause| clause.split([' ', ',']).next());
    first.any(|word| CURES.contains(&word))
}
