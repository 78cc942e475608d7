package main

import (
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestConfidenceLeavesOutWhatChanceMayDo(t *testing.T) {
	// What statistics books have for the median: the k-th value from either end.
	for _, tt := range []struct{ n, k int }{{6, 1}, {8, 1}, {9, 2}, {12, 3}, {15, 4}, {20, 6}} {
		var v []float64
		for i := range tt.n {
			v = append(v, float64(tt.n-i))
		}
		from, to := confidence(v)
		if from != float64(tt.k) || to != float64(tt.n+1-tt.k) {
			t.Errorf("%d values: from %v to %v, want the %d. from either end", tt.n, from, to, tt.k)
		}
	}
	if from, _ := confidence(nil); !math.IsNaN(from) {
		t.Errorf("no values: from %v", from)
	}
}

func TestVerdicts(t *testing.T) {
	rounds := func(name string, costs ...float64) []sample {
		var list []sample
		for i, c := range costs {
			list = append(list, sample{Proxy: name, Round: i + 1, CPU: c, Rate: 1 / c})
		}
		return list
	}
	steady := rounds("ref", 10, 11, 10, 12, 10, 11, 10, 11, 10)
	for _, tt := range []struct {
		name string
		a    []sample
		want string
	}{
		{"few", rounds("a", 5, 5, 5, 5, 5), "too few rounds to tell"},
		{"same", rounds("a", 10.1, 10.9, 10.1, 11.9, 10.1, 10.9, 10.1, 10.9, 10.1), "within noise"},
		{"cheaper", rounds("a", 8, 8.8, 8, 9.6, 8, 8.8, 8, 8.8, 8), "a is cheaper by 20.0 %"},
		{"dearer", rounds("a", 12, 13.2, 12, 14.4, 12, 13.2, 12, 13.2, 12), "a is dearer by 20.0 %"},
		{"little", rounds("a", 10.2, 11.2, 10.2, 12.2, 10.2, 11.2, 10.2, 11.2, 10.2), "within noise: the reference differs as much from itself"},
	} {
		r := result{samples: map[string][]sample{
			"a": tt.a, "ref": steady,
			"ref" + again: rounds("ref", 10.5, 10.6, 10.4, 11.6, 10.5, 10.6, 10.5, 10.6, 10.5),
		}}
		o := &options{noise: true, compare: words{"a,ref"}}
		got := o.comparisons(r, "ref")
		if !strings.Contains(got, "| "+tt.want+" |") {
			t.Errorf("%s: want %q in\n%s", tt.name, tt.want, got)
		}
	}
}

func TestFailedRoundsHaveNoPartInARatio(t *testing.T) {
	r := result{samples: map[string][]sample{
		"a": {{Round: 1, CPU: 2, Rate: 1}, {Round: 2, Failed: "gone"}, {Round: 3, CPU: 4, Rate: 1}},
		"b": {{Round: 1, CPU: 1, Rate: 1}, {Round: 2, CPU: 9, Rate: 1}, {Round: 3, CPU: 2, Rate: 1}},
	}}
	if c := r.compare("a", "b"); c.rounds != 2 || c.paired != 2 || c.medians != 2 || c.lowest != 2 {
		t.Errorf("%+v", c)
	}
}

func TestWorkloadsByName(t *testing.T) {
	for _, tt := range []struct{ ids, want string }{
		{"F1", "F1"},
		{"f1a,F4", "F1a F4d F4u"},
		{"F1AL,F1f", "F1al F1f"},
		{"f1LIB,F1in,f3in", "F1lib F1in F3in"},
		{"F4i", "F4id F4iu"},
		{"reverse", "R1 R2 R3 R4 R5 R6"},
	} {
		ws, err := chooseWorkloads(tt.ids)
		var got []string
		for _, w := range ws {
			got = append(got, w.id)
		}
		if err != nil || strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %v, %v", tt.ids, got, err)
		}
	}
	if _, err := chooseWorkloads("F1,F99"); err == nil {
		t.Error("F99 exists")
	}
}

func TestCandidates(t *testing.T) {
	o, err := readOptions([]string{
		"-peers", "none", "-candidate", "a=one {port}", "-candidate", "a=two {port} {tlsport}", "-candidate-auth", "a=three {users}",
	})
	if err != nil {
		t.Fatal(err)
	}
	list, err := o.chooseProxies()
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 2 || list[0].kinds() != "forward forward-auth" || list[1].name != "a#2" || list[1].kinds() != "forward forward-tls" {
		t.Errorf("%+v", list)
	}
}

func TestRowsToCompareWith(t *testing.T) {
	o := &options{ref: "a", noise: true, compare: words{"b,a"}}
	proxies := []proxy{
		{name: "a", cmds: map[string]string{forward: "1", forwardAuth: "2", forwardAuthList: "3"}},
		{name: "b", cmds: map[string]string{forwardAuthList: "4"}},
		{name: "c", cmds: map[string]string{forward: "5"}},
	}
	for _, tt := range []struct{ id, want string }{
		{"F1", "direct F1, a forward F1, c forward F1, a-again forward F1"},
		{"F1al", "a forward-auth-list F1al, a-F1 forward F1, b forward-auth-list F1al, a-again forward-auth-list F1al"},
		{"F1f", "a forward-auth F1f, a-F1a forward-auth F1a, a-again forward-auth F1f"},
	} {
		var got []string
		for _, e := range o.field(workloadOf(tt.id), proxies) {
			got = append(got, strings.Join(strings.Fields(e.name+" "+e.kind+" "+e.w.id), " "))
		}
		if strings.Join(got, ", ") != tt.want {
			t.Errorf("%s: %s\nwant %s", tt.id, strings.Join(got, ", "), tt.want)
		}
	}
	for _, w := range workloads() {
		if w.base != "" {
			workloadOf(w.base)
		}
	}
}

func TestBasesAreCompared(t *testing.T) {
	r := result{w: workloadOf("F1f"), order: []string{"a", "a-F1a", "b"}, samples: map[string][]sample{
		"a":     {{Round: 1, CPU: 3, Rate: 1, P99: 6, Flood: tally{407: 1000, 429: 4000}}},
		"a-F1a": {{Round: 1, CPU: 2, Rate: 2, P99: 4}},
		"b":     {{Round: 1, CPU: 2, Rate: 2, P99: 4}},
	}}
	got := (&options{ref: "a"}).table(r)
	for _, want := range []string{
		"| a / a-F1a | 1 | 1.500 | 1.500 | 1.500 | 1.500 | 1.500 | 0.500 | 1.50 | too few rounds to tell |",
		"| flood/s |", "| 5000 |",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("want %q in\n%s", want, got)
		}
	}
	if got := r.samples["a"][0].brief(r.w); !strings.HasSuffix(got, "flood answered/s: 4000 by 429 1000 by 407") {
		t.Error(got)
	}
}

func TestListsHoldDifferentNames(t *testing.T) {
	const n = 5000
	list, dotlist := makeLists(n)
	seen := make(map[string]bool)
	for name := range strings.Lines(string(list)) {
		seen[name] = true
	}
	if len(seen) != n || strings.Count(string(dotlist), "\n.") != n-1 {
		t.Errorf("%d names, %d with a dot", len(seen), strings.Count(string(dotlist), "\n."))
	}
}

func TestTablesTellWhatClientsAgreedOn(t *testing.T) {
	r := result{w: workloadOf("F1s"), order: []string{"a", "b", "c"}, samples: map[string][]sample{
		"a": {{Round: 1, CPU: 1, Rate: 1, TLS: "one"}, {Round: 2, CPU: 1, Rate: 1, TLS: "one"}},
		"b": {{Round: 1, Failed: "gone", TLS: "two"}},
		"c": {{Round: 1, CPU: 1, Rate: 1, TLS: "one"}},
	}}
	if got := (&options{ref: "a"}).table(r); !strings.HasSuffix(got, "\nAll connections of clients: one.\n") {
		t.Error(got)
	}
	r.w = workloadOf("F1")
	r.order, r.samples = []string{"a"}, map[string][]sample{"a": {{Round: 1, CPU: 1, Rate: 1}}}
	if got := (&options{ref: "a"}).table(r); strings.Contains(got, "connections of clients") {
		t.Error(got)
	}
}

func TestParseHead(t *testing.T) {
	h, ok := parseHead([]byte("HTTP/1.1 200 OK\r\ncontent-LENGTH: 12\r\nConnection: Close\r\nX: y\r\n\r\nbody"))
	if !ok || h.status() != 200 || h.length != 12 || !h.closes || h.chunked || h.size != 64 {
		t.Errorf("%+v, %v", h, ok)
	}
	if h, ok := parseHead([]byte("HTTP/1.1\r\n\r\n")); !ok || h.status() != -1 || h.length != -1 {
		t.Errorf("%+v, %v", h, ok)
	}
	if _, ok := parseHead([]byte("HTTP/1.1 200 OK\r\nX: y\r\n")); ok {
		t.Error("half a head is none")
	}
}

// startOrigin serves in this process, and returns a port of the origin and one of
// the parent.
func startOrigin(t *testing.T) (plain, parent int) {
	t.Helper()
	l, err := newLoop()
	if err != nil {
		t.Fatal(err)
	}
	file, err := newBulk()
	if err != nil {
		t.Fatal(err)
	}
	o := &origin{loop: l, file: file, pages: map[int64][]byte{}}
	plain, parent = freePort(), freePort()
	if err := o.listen(plain, false); err != nil {
		t.Fatal(err)
	}
	if err := o.listen(parent, true); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	over := make(chan struct{})
	go func() {
		ended <- o.run(func() bool {
			select {
			case <-over:
				return false
			default:
				return true
			}
		})
	}()
	t.Cleanup(func() {
		close(over)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return plain, parent
}

// longEnough runs a job for longer and longer until it has something to tell.
func longEnough(j job, run func(job) (*load, error)) (l *load, err error) {
	for j.measure = 50 * time.Millisecond; j.measure < 20*time.Second; j.measure *= 2 {
		if l, err = run(j); err != nil || l.units > 0 || l.errors > 0 {
			break
		}
	}
	return l, err
}

func TestGeneratorAgainstOrigin(t *testing.T) {
	plain, parent := startOrigin(t)
	file, err := newBulk()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		port  int
		proxy bool
		job   func(target) job
		wrong bool
	}{
		{"get", plain, false, keptAlive, false},
		{"new connections", plain, false, newConns, false},
		{"post", plain, false, post, false},
		{"download", plain, false, download, false},
		{"upload", plain, false, bulkUp, false},
		{"echo", plain, false, pingPong, false},
		{"get by a parent", parent, true, keptAlive, false},
		{"tunnel by a parent", parent, true, setUp, false},
		{"absolute form at an origin", plain, true, keptAlive, true},
		{"tunnel at an origin", plain, true, setUp, true},
		{"origin form at a parent", parent, false, keptAlive, true},
		{"with what a filter takes off", plain, false, func(t target) job { t.proxy, t.field = true, nothing+": 1\r\n"; return keptAlive(t) }, true},
		{"wrong size", plain, false, func(t target) job { j := keptAlive(t); j.body--; return j }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := tt.job(target{port: tt.port, proxy: tt.proxy, hosts: []string{"127.0.0.1:9"}, idle: 3})
			j.port, j.begin, j.end = tt.port, func() {}, func() {}
			l, err := longEnough(j, func(j job) (*load, error) { return drive(j, file) })
			if tt.wrong {
				if err == nil && l.errors == 0 {
					t.Errorf("%d units and no error", l.units)
				}
			} else if err != nil || l.units == 0 || l.errors > 0 {
				t.Errorf("%d units, %d errors: %v %s", l.units, l.errors, err, l.first)
			}
		})
	}
}

func TestIdleTunnelsAreHeld(t *testing.T) {
	_, parent := startOrigin(t)
	j := idleTunnels(target{proxy: true, hosts: []string{"127.0.0.1:9"}, idle: 100})
	j.port = parent
	g, err := hold(j, bulk{})
	if err != nil {
		t.Fatal(err)
	}
	defer g.close()
	if n := g.held(); n != 100 {
		t.Errorf("%d of 100 tunnels", n)
	}
}

func TestTLSGenerator(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Proxy-Authorization") == "" {
			http.Error(w, "who?", http.StatusProxyAuthRequired)
			return
		}
		_, _ = w.Write(make([]byte, small))
	}))
	srv.StartTLS()
	defer srv.Close()
	port := int(atoi([]byte(srv.URL[strings.LastIndexByte(srv.URL, ':')+1:])))
	for _, field := range []string{proxyAuthorization(userName, password), ""} {
		j := keptAlive(target{port: port, proxy: true, hosts: []string{"localhost:9"}, field: field})
		j.port, j.begin, j.end = port, func() {}, func() {}
		var agreed string
		l, err := longEnough(j, func(j job) (l *load, err error) {
			l, agreed, err = driveTLS(j)
			return l, err
		})
		switch good := field != ""; {
		case good && (err != nil || l.units == 0 || l.errors > 0 || agreed != "TLS 1.3 TLS_AES_128_GCM_SHA256 X25519"):
			t.Errorf("%+v, %q, %v", l, agreed, err)
		case !good && err == nil && l.errors == 0:
			t.Error("no error where all was refused")
		}
	}
}
