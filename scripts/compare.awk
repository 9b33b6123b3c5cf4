# SPDX-License-Identifier: GPL-2.0
#
# compare.awk DIFFERENCES LEDGER impl=c RESULTS... impl=rust RESULTS...: the table of
# "make compare", then the ledger.  The variable programs says which tests have to be there.

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

# A test may have run on two kernels: the one on which more was seen counts.
function remember(key, said_now,	rank)
{
	if (!(key in known)) {
		known[key]
		order[++nr] = key
	}
	rank = said_now == "skipped" ? 1 : said_now == "ok" ? 2 : said_now == "failed" ? 4 : 3
	if (rank > seen[impl, key]) {
		seen[impl, key] = rank
		said[impl, key] = said_now
	}
}

# A program that died took tests with it, perhaps the same ones with both drivers.
function finish(status)
{
	if (suite != "" && (!plan || ran != plan || (status && !bad)))
		remember(suite " (the program itself)", "failed")
	suite = ""
}

# How C and Rust compare: nothing, or a row, or what is wrong.
function verdict(c, rust,	row)
{
	if (c == "ok" && rust == "ok")
		return ""
	if (c == "skipped" && rust == "skipped")
		return "skipped by both"
	if (rust != "ok")
		return "NOT RIGHT"
	row = substr(c, 7)
	return c ~ /^fault / && row in rows ? row : "UNEXPLAINED"
}

impl == "" && /^   \* - [CMLN][0-9]+$/ { rows[$3]; next }
impl == "" && /^[CMLN][0-9]+\t/ {
	ledger[++nr_ledger] = $1
	program[$1] = $2
	test[$1] = $3
	what = $0
	for (i = 1; i <= 3; i++)
		sub(/^[^ \t]+[ \t]+/, "", what)
	shows[$1] = what
	next
}
impl == "" { next }

{ sub(/\r$/, "") }
/^@suite / {
	finish(1)
	suite = $2 == "kselftest" ? $3 : ""
	started[impl, suite]
	plan = ran = bad = 0
	next
}
/^@end / { finish($2); next }
/^@exit / { next }
suite == "" { next }
/^1\.\.[0-9]+/ { plan = substr($1, 4) + 0 }
/^(not )?ok [0-9]+ / {
	name = $0
	sub(/^(not )?ok [0-9]+ /, "", name)
	sub(/^# (XFAIL|SKIP) /, "", name)
	sub(/ *# .*/, "", name)
	ran++
	bad += /^not ok/
	remember(suite ": " name, result($0))
}

END {
	finish(1)
	nr_programs = split(programs, wanted, " ")
	for (i = 1; i <= nr_programs; i++)
		if (!(("c", wanted[i]) in started) || !(("rust", wanted[i]) in started))
			remember(wanted[i] " (the program itself)", "missing")
	print "The same tests with both drivers\n"
	printf "%-76s %-9s %-8s %s\n", "test", "C", "Rust", "row"
	for (i = 1; i <= nr; i++) {
		key = order[i]
		c = ("c", key) in said ? said["c", key] : "missing"
		rust = ("rust", key) in said ? said["rust", key] : "missing"
		why = verdict(c, rust)
		if (why ~ /^(NOT RIGHT|UNEXPLAINED)$/)
			failed++
		else if (why == "skipped by both")
			skipped++
		else
			passed++
		explained += why ~ /^[CMLN][0-9]/
		line = sprintf("%-76s %-9s %-8s %s", key, c, rust, why)
		sub(/ +$/, "", line)
		print line
	}
	printf "\n%d tests differ for a reason in the table of differences, %d were skipped by both\n",
		explained, skipped
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
		pattern = "^" program[row] ": " pattern "$"
		on_c = on_rust = "missing"
		for (j = 1; j <= nr; j++) {
			if (order[j] !~ pattern)
				continue
			if (said["c", order[j]] == "fault " row)
				on_c = "shown"
			if (on_rust == "missing" || said["rust", order[j]] != "ok")
				on_rust = said["rust", order[j]]
		}
		good = on_c == "shown" && on_rust == "ok"
		good ? passed++ : failed++
		printf "%-4s C: %-8s Rust: %-8s %s: %s (%s)\n", row, on_c, on_rust, program[row], test[row], shows[row]
	}
	for (row in rows)
		if (row !~ /^N/ && !(row in program)) {
			printf "%-4s is not in the ledger\n", row
			failed++
		}
	printf "faults that are shown with C and absent from Rust: %d passed, %d failed\n", passed, failed
}
