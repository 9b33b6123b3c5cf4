# SPDX-License-Identifier: GPL-2.0
#
# compare.awk DIFFERENCES LEDGER C-RESULTS RUST-RESULTS: the table of "make compare",
# then the ledger.

function result(text,	row)
{
	if (text ~ /# XFAIL/) {
		row = text
		sub(/.*fault /, "", row)
		sub(/[^A-Z0-9].*/, "", row)
		return "fault " row
	}
	if (text ~ /# SKIP/)
		return "skipped"
	return text ~ /^not ok/ ? "failed" : "ok"
}

# How C and Rust compare: nothing, or a row, or what is wrong.
function verdict(c, rust,	row)
{
	if (c == rust && c == "ok")
		return ""
	if (rust != "ok" && !(rust == "skipped" && c == "skipped"))
		return "NOT RIGHT"
	row = substr(c, 7)
	if (c ~ /^fault / && row in rows)
		return row
	return c == "skipped" && rust == "skipped" ? "skipped by both" : "UNEXPLAINED"
}

FNR == 1 { file++ }

file == 1 && /^   \* - [CMLN][0-9]+$/ { rows[$3]; next }
file == 2 && /^[A-Z]/ {
	ledger[++nr_ledger] = $1
	program[$1] = $2
	test[$1] = $3
	what = $0
	for (i = 1; i <= 3; i++)
		sub(/^[^ \t]+[ \t]+/, "", what)
	shows[$1] = what
	next
}
file < 3 { next }

{ sub(/\r$/, "") }
/^@suite / { suite = $2 == "kselftest" ? $3 : ""; next }
/^@end / { suite = ""; next }
suite != "" && /^(not )?ok [0-9]+ / {
	name = $0
	sub(/^(not )?ok [0-9]+ /, "", name)
	sub(/^# (XFAIL|SKIP) /, "", name)
	sub(/ *# .*/, "", name)
	key = suite " " name
	if (!(key in known)) {
		known[key]
		order[++nr] = key
	}
	said[file, key] = result($0)
}

END {
	print "\nThe same tests with both drivers\n"
	printf "%-72s %-10s %-8s %s\n", "test", "C", "Rust", "row"
	for (i = 1; i <= nr; i++) {
		key = order[i]
		c = (3, key) in said ? said[3, key] : "missing"
		rust = (4, key) in said ? said[4, key] : "missing"
		why = verdict(c, rust)
		if (why ~ /^(NOT RIGHT|UNEXPLAINED)$/)
			failed++
		else
			passed++
		if (why ~ /^[CMLN][0-9]/)
			explained++
		printf "%-72s %-10s %-8s %s\n", key, c, rust, why
	}
	printf "\n%d tests differ, each for a reason in the table of differences\n", explained
	printf "tests that agree or differ for a reason: %d passed, %d failed\n", passed, failed

	print "\nThe faults of the C driver, and the test that shows each\n"
	passed = failed = 0
	for (i = 1; i <= nr_ledger; i++) {
		row = ledger[i]
		if (program[row] == "-") {
			printf "%-4s not shown: %s\n", row, shows[row]
			continue
		}
		pattern = test[row]
		# The variants of a fixture are between its name and that of the test.
		sub(/\./, "\\.(.*\\.)?", pattern)
		pattern = "^" program[row] " " pattern "$"
		on_c = on_rust = "missing"
		for (j = 1; j <= nr; j++) {
			if (order[j] !~ pattern)
				continue
			if (said[3, order[j]] == "fault " row)
				on_c = "shown"
			if (on_rust == "missing" || said[4, order[j]] != "ok")
				on_rust = said[4, order[j]]
		}
		good = on_c == "shown" && on_rust == "ok"
		good ? passed++ : failed++
		printf "%-4s C: %-8s Rust: %-8s %s %s: %s\n", row, on_c, on_rust, program[row], test[row], shows[row]
	}
	for (row in rows)
		if (row !~ /^N/ && !(row in program)) {
			printf "%-4s is not in the ledger\n", row
			failed++
		}
	printf "faults that are shown with C and absent from Rust: %d passed, %d failed\n", passed, failed
}
