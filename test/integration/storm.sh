# shellcheck shell=bash disable=SC2154 # the names of integration.sh and parents.sh
# Four parents under 500 requests a second, by integration/rate: one is killed and
# comes back, one is frozen, and then all are gone.

# A storm's times are seconds of Unix time, with a fraction.
storm() {
	local begun killed back frozen over rate log=$parents/rate.log before
	(cd "$root" && go build -o $lab/ ./test/integration/rate) || exit 1
	forward --connect-ports 80 --upstream-resolve parent --admin unix://$lab/admin.sock \
		--upstream http://$at:3128 --upstream http://$at:8888 --upstream socks5://$at:1081 --upstream http://$at:3228 || exit 1
	tried=$((tried + 1))
	before=$(wc -l <$lab/origin.log)
	: >"$parents/squid.log"

	client $lab/rate 10.0.0.1:3128 www.origin.test 500 23 >"$log" 2>$lab/rate.err &
	rate=$! begun=$EPOCHREALTIME
	until_second 4
	killed=$EPOCHREALTIME
	kill_parent squid
	until_second 9
	$lab/viaduct status --admin unix://$lab/admin.sock >$lab/status 2>&1
	until_second 10
	squid_starts
	back=$EPOCHREALTIME
	until_second 15
	frozen=$EPOCHREALTIME
	kill -STOP "${parent_pid[tinyproxy]}"
	wait $rate
	over=$(later "$frozen" 100)

	report 'storm: 500 requests a second' asked "$begun" "$over" 11400
	# What is under way at a blow belongs to it.
	report 'storm: none is lost before' lost_at_most 0 "$begun" "$(later "$killed" -1)"
	report 'storm: a parent is killed, one in a hundred lost' lost_at_most 1 "$(later "$killed" -1)" "$(later "$frozen" -1)"
	report 'storm: a parent is killed, none lost after 3 s' lost_at_most 0 "$(later "$killed" 3)" "$(later "$frozen" -1)"
	report 'storm: status tells of it, and why' dead_in_status
	report 'storm: it is used again within 12 s of its return' used_within 12 "$back"
	report 'storm: a parent is frozen, one in a hundred lost' lost_at_most 1 "$(later "$frozen" -1)" "$over"
	report 'storm: every parent had a share' shares
	report 'storm: nothing went direct' asked_by_parents "$before"
	told_numbers
	report 'storm: all parents are gone' nobody_left
	stop
	report 'storm: viaduct ends well' weathered
}

until_second() { sleep "$(awk -v then="$begun" -v now="$EPOCHREALTIME" -v s="$1" 'BEGIN {w = then + s - now; print (w > 0 ? w : 0)}')"; }

later() { awk -v t="$1" -v s="$2" 'BEGIN {printf "%.3f", t + s}'; }

# asked checks how many requests there were between two times.
asked() { awk -v from="$1" -v to="$2" -v least="$3" '$1 >= from && $1 < to {n++} END {print n + 0, "requests"; exit n < least}' "$log"; }

# lost_at_most checks how many of a hundred were lost between two times.
lost_at_most() {
	awk -v most="$1" -v from="$2" -v to="$3" '
		$1 < from || $1 >= to {next}
		{asked++}
		$4 != "ok" {lost++; if (lost <= 20) print}
		END {print lost + 0, "of", asked + 0, "lost"; exit asked == 0 || lost * 100 > asked * most}' "$log"
}

# dead_in_status: five seconds after the kill, status has the reason below the
# endpoint's line.
dead_in_status() {
	cat $lab/status
	grep -F -A 4 "http://$at:3128 " $lab/status | grep -E 'connection refused|errors in a row'
}

# used_within looks into squid's own log, whose lines begin with the time.
used_within() {
	awk -v back="$2" '$1 > back && $4 ~ /^TCP_(MISS|TUNNEL)\/200/ {print $1 - back; exit}' "$parents/squid.log" >$lab/used
	cat $lab/used
	awk -v most="$1" '{ok = $1 <= most} END {exit !ok}' $lab/used
}

# shares: how large they are, is up to the parents' speed.
shares() {
	grep -o '"endpoint":"[^"]*"' $lab/access.log | sort | uniq -c >$lab/shares
	cat $lab/shares
	[[ $(awk '$1 > 10' $lab/shares | wc -l) -eq 4 ]]
}

# told_numbers shows what doc/benchmarks.md tells.
told_numbers() {
	echo "      lost: $(lost_at_most 100 "$killed" "$frozen" | tail -n 1) around the kill, $(lost_at_most 100 "$frozen" "$over" | tail -n 1) in the frost; back in use after $(cat $lab/used) s"
	echo "      last lost after the kill: $(awk -v k="$killed" -v f="$frozen" '$1 >= k && $1 < f && $4 != "ok" {l = $1 - k} END {print l + 0}' "$log") s, after the frost began: $(awk -v f="$frozen" '$1 >= f && $4 != "ok" {l = $1 - f} END {print l + 0}' "$log") s; slowest $(awk '$3 > m {m = $3} END {print m}' "$log") s"
}

# nobody_left: with all of them gone it is 503, soon, and never the direct way.
nobody_left() {
	local site out before
	kill_parent squid tinyproxy microsocks viaduct
	before=$(wc -l <$lab/origin.log)
	for site in http://www.origin.test/hello http://93.184.216.34/hello http://www.origin.test/hello; do
		out=$(client curl -sS -D - --max-time 8 -x $proxy_at -w '%{http_code} %{time_total}\n' "$site" 2>&1)
		echo "$out"
		[[ $out == *$'\n503 '* && ${out,,} == *retry-after:* ]] || return 1
	done
	out=$(client curl -sS -p --max-time 8 -o /dev/null -x $proxy_at -w '%{http_connect} %{time_total}\n' "$site" 2>&1)
	echo "$out"
	grep -q '^503 ' <<<"$out" && [[ $(wc -l <$lab/origin.log) -eq $before ]]
}

# weathered lets the proxy have warned of its parents.
weathered() {
	sed -i '/level=WARN.*endpoint=/d' $lab/viaduct.err
	ended_well
}
