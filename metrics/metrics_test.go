package metrics_test

import (
	"fmt"
	"os"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"viaduct/fault"
	"viaduct/metrics"
)

// patience is how long a test waits for what must happen.
const patience = time.Minute

// TestMain fails the package if goroutines are left.
func TestMain(m *testing.M) {
	routines := runtime.NumGoroutine()
	code := m.Run()
	if !eventually(func() bool { return runtime.NumGoroutine() <= routines }) {
		buf := make([]byte, 1<<20)
		fmt.Printf("goroutines are left\n%s\n", buf[:runtime.Stack(buf, true)])
		code = 1
	}
	os.Exit(code)
}

func eventually(look func() bool) bool {
	for end := time.Now().Add(patience); ; <-time.After(2 * time.Millisecond) {
		if look() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// values are what a scrape finds: name{label="value",...}, without viaduct_. A
// histogram is its _count, its _sum and its _bucket.
type values map[string]float64

func scrape(t testing.TB, m *metrics.Metrics) values {
	t.Helper()
	list, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := values{}
	for _, f := range list {
		name, ours := strings.CutPrefix(f.GetName(), "viaduct_")
		for _, v := range f.GetMetric() {
			labels := ""
			for _, l := range v.GetLabel() {
				labels += fmt.Sprintf(",%s=%q", l.GetName(), l.GetValue())
			}
			labels = strings.TrimPrefix(labels, ",")
			h := v.GetHistogram()
			switch {
			case !ours:
			case h != nil:
				all[name+"_count{"+labels+"}"] = float64(h.GetSampleCount())
				all[name+"_sum{"+labels+"}"] = h.GetSampleSum()
				for _, b := range h.GetBucket() {
					all[fmt.Sprintf("%s_bucket{%s,le=%q}", name, labels, fmt.Sprint(b.GetUpperBound()))] = float64(b.GetCumulativeCount())
				}
			default:
				all[name+"{"+labels+"}"] = v.GetCounter().GetValue() + v.GetGauge().GetValue()
			}
		}
	}
	return all
}

// want holds what a scrape finds against what it should: lines of name and
// value. What is not named must be zero, save for buckets and what is always
// there.
func (v values) want(t testing.TB, lines ...string) {
	t.Helper()
	left := values{}
	for name, n := range v {
		always := strings.HasPrefix(name, "build_info{") || strings.HasPrefix(name, "config_") || strings.Contains(name, "_bucket{")
		if n != 0 && !always {
			left[name] = n
		}
	}
	for _, line := range lines {
		end := strings.LastIndexByte(line, ' ')
		name := line[:end]
		var n float64
		_, _ = fmt.Sscan(line[end:], &n)
		if got, there := v[name]; !there || got != n {
			t.Errorf("%s is %v (there: %v), want %v", name, got, there, n)
		}
		delete(left, name)
	}
	for name, n := range left {
		t.Errorf("%s is %v, want 0", name, n)
	}
}

func TestExchangeIsCounted(t *testing.T) {
	for _, c := range []struct {
		name string
		e    metrics.Exchange
		want []string
	}{
		{"on a connection that was idle", metrics.Exchange{Status: 200, Sent: 1024, Total: 250 * time.Millisecond, Reused: true}, []string{
			`requests_total{code="2xx",listener="forward[0]"} 1`,
			`request_duration_seconds_count{listener="forward[0]"} 1`,
			`request_duration_seconds_sum{listener="forward[0]"} 0.25`,
			`sent_bytes_total{listener="forward[0]"} 1024`,
			`upstream_connections_total{listener="forward[0]",reused="true"} 1`,
		}},
		{"on a new connection", metrics.Exchange{Status: 304, Received: 5, Total: time.Second, Dial: 500 * time.Millisecond}, []string{
			`requests_total{code="3xx",listener="forward[0]"} 1`,
			`request_duration_seconds_count{listener="forward[0]"} 1`,
			`request_duration_seconds_sum{listener="forward[0]"} 1`,
			`received_bytes_total{listener="forward[0]"} 5`,
			`dial_duration_seconds_count{listener="forward[0]"} 1`,
			`dial_duration_seconds_sum{listener="forward[0]"} 0.5`,
			`upstream_connections_total{listener="forward[0]",reused="false"} 1`,
		}},
		{"on a new one, after an idle one was stale", metrics.Exchange{Status: 200, Dial: time.Second, Reused: true}, []string{
			`requests_total{code="2xx",listener="forward[0]"} 1`,
			`request_duration_seconds_count{listener="forward[0]"} 1`,
			`dial_duration_seconds_count{listener="forward[0]"} 1`,
			`dial_duration_seconds_sum{listener="forward[0]"} 1`,
			`upstream_connections_total{listener="forward[0]",reused="false"} 1`,
		}},
		{"refused", metrics.Exchange{Status: 403, Fault: "http_request_denied", Sent: 40}, []string{
			`requests_total{code="4xx",listener="forward[0]"} 1`,
			`request_duration_seconds_count{listener="forward[0]"} 1`,
			`faults_total{fault="http_request_denied",listener="forward[0]"} 1`,
			`sent_bytes_total{listener="forward[0]"} 40`,
		}},
		{"of a client that left", metrics.Exchange{Fault: "connection_terminated"}, []string{
			`requests_total{code="none",listener="forward[0]"} 1`,
			`request_duration_seconds_count{listener="forward[0]"} 1`,
			`faults_total{fault="connection_terminated",listener="forward[0]"} 1`,
		}},
		{"with numbers that cannot be", metrics.Exchange{Status: 200, Received: -1, Sent: -1 << 62, Dial: -1}, []string{
			`requests_total{code="2xx",listener="forward[0]"} 1`,
			`request_duration_seconds_count{listener="forward[0]"} 1`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := metrics.New("test")
			m.Front("forward[1]")
			m.Front("forward[0]").Exchange(c.e)
			scrape(t, m).want(t, c.want...)
		})
	}
}

func TestStatusClasses(t *testing.T) {
	for status, want := range map[int]string{
		-1: "none", 0: "none", 99: "none", 100: "1xx", 101: "1xx", 199: "1xx", 200: "2xx", 299: "2xx", 301: "3xx",
		407: "4xx", 499: "4xx", 500: "5xx", 599: "5xx", 600: "5xx", 999: "5xx", 1 << 40: "5xx",
	} {
		m := metrics.New("test")
		m.Front("f").Exchange(metrics.Exchange{Status: status})
		scrape(t, m).want(t, `requests_total{code="`+want+`",listener="f"} 1`, `request_duration_seconds_count{listener="f"} 1`)
	}
}

// TestFaultsAreThoseOfTheVocabulary: the room fault may not be imported, so its
// words are repeated here.
func TestFaultsAreThoseOfTheVocabulary(t *testing.T) {
	m := metrics.New("test")
	f := m.Front("f")
	before := len(scrape(t, m))
	want := []string{}
	for _, token := range tokens() {
		f.Exchange(metrics.Exchange{Fault: token})
		want = append(want, `faults_total{fault="`+token+`",listener="f"} 1`)
	}
	got := scrape(t, m)
	n := len(want)
	got.want(t, append(want, fmt.Sprintf(`requests_total{code="none",listener="f"} %d`, n), fmt.Sprintf(`request_duration_seconds_count{listener="f"} %d`, n))...)
	if len(got) != before {
		t.Errorf("there are %d series, were %d: a token has no place", len(got), before)
	}
	if of := count(got, "faults_total{"); of != n {
		t.Errorf("%d faults have a series, the vocabulary has %d", of, n)
	}
}

// tokens are those of every kind of fault there is.
func tokens() (all []string) {
	defer func() { _ = recover() }() // behind the last kind
	for k := fault.None + 1; ; k++ {
		all = append(all, k.String())
	}
}

func count(v values, prefix string) (n int) {
	for name := range v {
		if strings.HasPrefix(name, prefix) {
			n++
		}
	}
	return n
}

// TestUnknownFaultHasNoSeriesOfItsOwn: whatever a token says, the series are as
// many as before.
func TestUnknownFaultHasNoSeriesOfItsOwn(t *testing.T) {
	m := metrics.New("test")
	f := m.Front("f")
	before := len(scrape(t, m))
	for _, token := range []string{"x", "DNS_ERROR", "\xff\xfe", `"} 1`, strings.Repeat("a", 1<<16)} {
		f.Exchange(metrics.Exchange{Fault: token})
		f.TunnelClosed(metrics.Tunnel{Fault: token})
	}
	got := scrape(t, m)
	if n := got[`faults_total{fault="proxy_internal_error",listener="f"}`]; n != 10 {
		t.Errorf("%v faults are counted as our own, want 10", n)
	}
	if len(got) != before {
		t.Errorf("there are %d series, were %d", len(got), before)
	}
}

func TestTunnelIsCounted(t *testing.T) {
	m := metrics.New("test")
	f := m.Front("f")
	f.TunnelOpened(250 * time.Millisecond)
	f.TunnelOpened(0) // an upgrade on a connection that was idle
	open := []string{
		`tunnels_total{listener="f"} 2`,
		`upstream_connections_total{listener="f",reused="true"} 1`,
		`upstream_connections_total{listener="f",reused="false"} 1`,
		`dial_duration_seconds_count{listener="f"} 1`,
		`dial_duration_seconds_sum{listener="f"} 0.25`,
	}
	scrape(t, m).want(t, append(open, `tunnels{listener="f"} 2`)...)
	f.TunnelClosed(metrics.Tunnel{Received: 7, Sent: 9, Duration: time.Hour, Fault: "connection_read_timeout"})
	f.TunnelClosed(metrics.Tunnel{Duration: time.Second})
	scrape(t, m).want(t, append(open,
		`tunnels{listener="f"} 0`,
		`tunnel_duration_seconds_count{listener="f"} 2`,
		`tunnel_duration_seconds_sum{listener="f"} 3601`,
		`received_bytes_total{listener="f"} 7`,
		`sent_bytes_total{listener="f"} 9`,
		`faults_total{fault="connection_read_timeout",listener="f"} 1`)...)
}

func TestConnectionsAreCounted(t *testing.T) {
	m := metrics.New("test")
	f := m.Front("f")
	for range 3 {
		f.Opened()
	}
	f.Closed()
	f.Refused(metrics.MaxConns)
	f.Refused(metrics.MaxConnsPerClient)
	f.Refused(metrics.MaxConnsPerClient)
	f.Refused(metrics.Descriptors)
	scrape(t, m).want(t,
		`client_connections{listener="f"} 2`,
		`client_connections_total{listener="f"} 3`,
		`client_connections_refused_total{listener="f",reason="max_conns"} 1`,
		`client_connections_refused_total{listener="f",reason="max_conns_per_client"} 2`,
		`client_connections_refused_total{listener="f",reason="descriptors"} 1`,
	)
}

// TestFrontIsFoundAgain: a reload goes on counting where it was.
func TestFrontIsFoundAgain(t *testing.T) {
	m := metrics.New("test")
	a, b := m.Front("forward[0]"), m.Front("forward[1]")
	if m.Front("forward[0]") != a || a == b {
		t.Error("a name does not find its counters")
	}
	var found sync.Map
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { found.Store(m.Front("forward[2]"), true) })
	}
	all.Wait()
	n := 0
	found.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d fronts have one name", n)
	}
}

func TestReloadsAreCounted(t *testing.T) {
	m := metrics.New("v1.2.3")
	v := scrape(t, m)
	first := v["config_timestamp_seconds{}"]
	if age := float64(time.Now().Unix()) - first; age < -60 || age > 3600 {
		t.Errorf("the configuration was read %v s ago", age)
	}
	check := func(v values, good float64, lines ...string) {
		t.Helper()
		v.want(t, lines...)
		if v["config_last_reload_successful{}"] != good {
			t.Errorf("the last reload counts as %v, want %v", v["config_last_reload_successful{}"], good)
		}
	}
	check(v, 1)
	m.Reloaded(false)
	v = scrape(t, m)
	check(v, 0, `reloads_total{result="failed"} 1`)
	if v["config_timestamp_seconds{}"] != first {
		t.Error("a failed reload changes the time of the configuration")
	}
	m.Reloaded(true)
	v = scrape(t, m)
	check(v, 1, `reloads_total{result="failed"} 1`, `reloads_total{result="ok"} 1`)
	if v["config_timestamp_seconds{}"] <= first {
		t.Error("a reload does not change the time of the configuration")
	}
	if v[`build_info{goversion="`+runtime.Version()+`",version="v1.2.3"}`] != 1 {
		t.Error("the version is not there")
	}
}

func TestPanicsAndPortsAreCounted(t *testing.T) {
	m := metrics.New("test")
	m.Egress("203.0.113.7", "2001:db8::7")
	v := scrape(t, m)
	v.want(t)
	if n := count(v, "egress_ports_exhausted_total{"); n != 2 {
		t.Errorf("%d egress addresses stand at zero, want 2", n)
	}
	m.Panicked()
	m.PortsExhausted("203.0.113.7")
	m.PortsExhausted("203.0.113.7")
	m.Egress("203.0.113.7") // after a reload
	scrape(t, m).want(t, `panics_total{} 1`, `egress_ports_exhausted_total{egress="203.0.113.7"} 2`)
}

func TestReadingsAreReadAtEachScrape(t *testing.T) {
	m := metrics.New("test")
	scrape(t, m).want(t)
	idle := 3
	m.Read(metrics.Readings{
		UpstreamIdle: func() int { idle++; return idle },
		LogDropped:   func() uint64 { return 2 },
		DNS: func() metrics.DNS {
			return metrics.DNS{Hits: 1, Misses: 2, Stale: 3, Shared: 4, Queries: 5, Failures: 6, Entries: 7}
		},
		Minted: func() int { return 10 },
		Certificates: func() map[string]time.Time {
			return map[string]time.Time{"/etc/proxy.pem": time.Unix(11, 12), "old\xff": time.Unix(-13, 0)}
		},
		Lists: func() map[string]metrics.ListSize {
			return map[string]metrics.ListSize{"/etc/ads.txt": {Names: 8, Skipped: 9}, "b\xff\x00": {Names: 1}, "": {}}
		},
	})
	rest := []string{
		`list_names{file="/etc/ads.txt"} 8`, `list_lines_skipped{file="/etc/ads.txt"} 9`, `list_names{file="b\\xff\\x00"} 1`,
		`certificate_not_after_timestamp_seconds{file="/etc/proxy.pem"} 11`,
		`certificate_not_after_timestamp_seconds{file="old\\xff"} -13`, `inspection_certificates_minted_total{} 10`,
		`access_log_lines_dropped_total{} 2`,
		`dns_lookups_total{result="hit"} 1`, `dns_lookups_total{result="miss"} 2`,
		`dns_lookups_total{result="stale"} 3`, `dns_lookups_total{result="shared"} 4`,
		`dns_queries_total{} 5`, `dns_query_failures_total{} 6`, `dns_cache_entries{} 7`,
	}
	scrape(t, m).want(t, append(rest, `upstream_idle_connections{} 4`)...)
	scrape(t, m).want(t, append(rest, `upstream_idle_connections{} 5`)...)

	m.Read(metrics.Readings{UpstreamIdle: func() int { return 1 }})
	v := scrape(t, m)
	v.want(t, `upstream_idle_connections{} 1`)
	if n := count(v, "dns_") + count(v, "access_log_") + count(v, "list_") + count(v, "certificate_") + count(v, "inspection_"); n != 0 {
		t.Errorf("%d values are there that nobody keeps", n)
	}
}

// TestReadingThatPanics spoils one scrape of its own values, and nothing else.
func TestReadingThatPanics(t *testing.T) {
	m := metrics.New("test")
	m.Front("f").Opened()
	m.Read(metrics.Readings{UpstreamIdle: func() int { panic("broken") }})
	list, err := m.Gatherer().Gather()
	if err == nil {
		t.Error("nobody is told")
	}
	there := false
	for _, f := range list {
		there = there || f.GetName() == "viaduct_client_connections"
	}
	if !there {
		t.Error("the others are lost")
	}
	m.Read(metrics.Readings{})
	scrape(t, m).want(t, `client_connections{listener="f"} 1`, `client_connections_total{listener="f"} 1`)
}

// TestNilCountsNothing: who counts need not ask whether anybody wants to know.
func TestNilCountsNothing(t *testing.T) {
	for _, v := range []any{(*metrics.Metrics)(nil), (*metrics.Front)(nil), (*metrics.Rules)(nil)} {
		for _, m := range reflect.ValueOf(v).Methods() {
			var in []reflect.Value
			for p := range m.Type().Ins() {
				in = append(in, reflect.Zero(p))
			}
			if m.Type().IsVariadic() {
				in[len(in)-1] = reflect.ValueOf("a")
			}
			m.Call(in)
		}
	}
	var none *metrics.Metrics
	if list, err := none.Gatherer().Gather(); len(list) > 0 || err != nil {
		t.Errorf("there are %d families: %v", len(list), err)
	}
	if none.Front("f") != nil || none.Front("f").Rules([]string{"a"}) != nil {
		t.Error("there is a front, or rules of it")
	}
}

// TestCountingWhileScraped loses nothing.
func TestCountingWhileScraped(t *testing.T) {
	m := metrics.New("test")
	const each, workers = 500, 8
	var all, scrapers sync.WaitGroup
	done := make(chan struct{})
	scrapers.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				scrape(t, m)
			}
		}
	})
	for range workers {
		all.Go(func() {
			for range each {
				f := m.Front("f")
				f.Opened()
				f.Exchange(metrics.Exchange{Status: 502, Fault: "dns_error", Received: 1, Sent: 2, Total: time.Second, Dial: time.Second})
				f.TunnelOpened(time.Second)
				f.TunnelClosed(metrics.Tunnel{Received: 1, Sent: 2, Duration: time.Second})
				f.Closed()
				m.Read(metrics.Readings{UpstreamIdle: func() int { return 1 }})
				m.PortsExhausted("a")
			}
		})
	}
	all.Wait()
	close(done)
	scrapers.Wait()
	const n = each * workers
	v := scrape(t, m)
	for name, want := range map[string]float64{
		`client_connections{listener="f"}`:                        0,
		`client_connections_total{listener="f"}`:                  n,
		`requests_total{code="5xx",listener="f"}`:                 n,
		`request_duration_seconds_count{listener="f"}`:            n,
		`request_duration_seconds_sum{listener="f"}`:              n,
		`faults_total{fault="dns_error",listener="f"}`:            n,
		`received_bytes_total{listener="f"}`:                      2 * n,
		`sent_bytes_total{listener="f"}`:                          4 * n,
		`dial_duration_seconds_count{listener="f"}`:               2 * n,
		`upstream_connections_total{listener="f",reused="false"}`: 2 * n,
		`tunnels{listener="f"}`:                                   0,
		`tunnels_total{listener="f"}`:                             n,
		`tunnel_duration_seconds_count{listener="f"}`:             n,
		`egress_ports_exhausted_total{egress="a"}`:                n,
	} {
		if v[name] != want {
			t.Errorf("%s is %v, want %v", name, v[name], want)
		}
	}
}
