package simulate_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"viaduct/lb"
	"viaduct/simulate"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// TestMain fails the package if goroutines are left.
func TestMain(m *testing.M) {
	code := m.Run()
	for end := time.Now().Add(patience); runtime.NumGoroutine() > 1; <-time.After(2 * time.Millisecond) {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			fmt.Printf("goroutines are left\n%s\n", buf[:runtime.Stack(buf, true)])
			code = 1
			break
		}
	}
	os.Exit(code)
}

// small is a scenario that is soon over.
func small(seed uint64) simulate.Scenario {
	return simulate.Scenario{Name: "small", About: "a few <servers>", Servers: simulate.Servers(5, 4), Balancers: 2, Load: 0.7, Requests: 4000, Seed: seed}
}

// all plays a scenario with every policy, and prints what comes of it.
func all(t testing.TB, s simulate.Scenario) (text, lines string, results []simulate.Result) {
	t.Helper()
	var a, b strings.Builder
	forPeople, forPrograms := simulate.NewTable(&a), simulate.NewTable(&b)
	err := simulate.Each([]simulate.Scenario{s}, lb.Policies(), func(s *simulate.Scenario, r simulate.Result) error {
		results = append(results, r)
		return errors.Join(forPeople.Row(s, r), forPrograms.JSON(s, r))
	})
	if err != nil {
		t.Fatal(err)
	}
	return a.String(), b.String(), results
}

func TestSameSeedGivesTheSameOutput(t *testing.T) {
	for _, change := range []func(*simulate.Scenario){
		func(*simulate.Scenario) {},
		func(s *simulate.Scenario) { s.Keys, s.Options.HashBound = simulate.Zipf, 1.25 },
		func(s *simulate.Scenario) { s.Servers[0].Slow, s.Servers[1].Weight = 3, 5 },
		func(s *simulate.Scenario) { s.Servers[0].Slow = 3 },
		func(s *simulate.Scenario) {
			s.Servers[4].Fails, s.Servers[3].Fails, s.Outlier, s.Options.SlowStart = true, true, true, time.Second
		},
	} {
		s := small(rand.Uint64())
		change(&s)
		t.Logf("seed %d", s.Seed)
		text, lines, _ := all(t, s)
		again, linesAgain, _ := all(t, s)
		if text != again || lines != linesAgain {
			t.Errorf("%s\n%s\nthen\n%s\n%s", text, lines, again, linesAgain)
		}
	}
	s := small(fixed)
	r := play(t, s, lb.P2C)
	s.Seed++
	if play(t, s, lb.P2C) == r {
		t.Errorf("another seed gives the same: %+v", r)
	}
}

// What cannot be otherwise, whatever chance does.
func TestResultsAreSane(t *testing.T) {
	s := small(rand.Uint64())
	t.Logf("seed %d", s.Seed)
	_, _, results := all(t, s)
	if len(results) != len(lb.Policies()) {
		t.Errorf("%d results", len(results))
	}
	for _, r := range results {
		switch first := r.Contender.Policy == lb.First; {
		case r.Scenario != "small", r.Errors != 0, r.Least > 1, r.Most < 1, r.P50 <= 0, r.P50 > r.P99, r.P99 > r.P999:
			t.Errorf("%+v", r)
		case first != r.Unstable, first && (r.Most != 5 || r.Least != 0):
			t.Errorf("%+v", r)
		}
	}
}

// One server that does nothing but this one thing: the answer is known.
func TestModelOfOneServer(t *testing.T) {
	s := small(fixed)
	s.Servers, s.Requests, s.Load = simulate.Servers(1, 1000), 100_000, 0.5
	mean, median := 10.0, 10*math.Exp(-0.82*0.82/2) // nobody waits: the latency is the service time
	r := play(t, s, lb.Random)
	if got := milliseconds(r.P50); math.Abs(got/median-1) > 0.02 {
		t.Errorf("median %.2f ms, not %.2f", got, median)
	}
	if got, want := milliseconds(r.P99), median*math.Exp(0.82*2.3263); math.Abs(got/want-1) > 0.05 {
		t.Errorf("p99 %.2f ms, not %.2f", got, want)
	}
	s.Servers[0].Slow = 2
	if slow := play(t, s, lb.Random); math.Abs(float64(slow.P99)/float64(r.P99)-2) > 0.1 {
		t.Errorf("twice as slow: %v, was %v", slow.P99, r.P99)
	}
	if got, want := s.Rate(), 0.5*1000*1000/mean/2; math.Abs(got-want) > 1e-6 {
		t.Errorf("%v requests a second, not %v", got, want)
	}
	s = small(fixed)
	s.Servers = simulate.Servers(1, 4)
	if s.Load = 1.5; !play(t, s, lb.Random).Unstable {
		t.Error("a load of 1.5 is said to be stable")
	}
	s.Load, s.Servers[0].Fails = 0.5, true
	if r := play(t, s, lb.Random); r.Errors != 1 || r.P99 != 0 || r.Unstable {
		t.Errorf("it fails always: %+v", r)
	}
}

// recorder is a balancer of one server that writes down what ends.
type recorder struct {
	t       *testing.T
	refuses bool
	ends    []time.Duration
	flying  int
}

func (r *recorder) Pick(uint64, time.Duration) int {
	if r.refuses {
		return -1
	}
	r.flying++
	return 0
}

func (r *recorder) Done(_ int, now, latency time.Duration, _ bool) {
	r.flying--
	if latency <= 0 || latency > now || len(r.ends) > 0 && now < r.ends[len(r.ends)-1] {
		r.t.Errorf("it ended at %v after %v", now, latency)
	}
	r.ends = append(r.ends, now)
}

func TestFrozenServerDoesNothing(t *testing.T) {
	s := small(rand.Uint64())
	t.Logf("seed %d", s.Seed)
	s.Servers, s.Balancers = simulate.Servers(1, 4), 1
	from, to := 2*time.Second, 4*time.Second
	s.Servers[0].FreezeAt, s.Servers[0].Freeze = from, to-from
	r := &recorder{t: t}
	if _, err := simulate.RunWith(s, func(int, func() uint64) simulate.Balancer { return r }); err != nil {
		t.Fatal(err)
	}
	before, after := 0, 0
	for _, at := range r.ends {
		switch {
		case at > from && at < to:
			t.Errorf("it ended something at %v", at)
		case at <= from:
			before++
		default:
			after++
		}
	}
	if before == 0 || after == 0 || before+after != s.Requests || r.flying != 0 {
		t.Errorf("%d before, %d after, %d never", before, after, r.flying)
	}
}

func TestRefusedRequestsAreErrors(t *testing.T) {
	s := small(fixed)
	r, err := simulate.RunWith(s, func(int, func() uint64) simulate.Balancer { return &recorder{t: t, refuses: true} })
	if err != nil || r.Errors != 1 || r.Least != 0 || r.Most != 0 || r.P999 != 0 || r.Unstable {
		t.Errorf("%+v, %v", r, err)
	}
}

// A bound on the load keeps frequent keys from drowning their server.
func TestBoundedLoadHelpsFrequentKeys(t *testing.T) {
	s := preset(t, "equal", fixed)
	s.Keys, s.Requests, s.Balancers = simulate.Zipf, 30_000, 1
	for _, p := range []lb.Policy{lb.Hash, lb.Ring, lb.Maglev} {
		s.Options.HashBound = 0
		if r := play(t, s, p); !r.Unstable || r.Most < 1.5 {
			t.Errorf("%v without a bound: %+v", p, r)
		}
		s.Options.HashBound = 1.25
		if r := play(t, s, p); r.Unstable || r.Most > 1.5 {
			t.Errorf("%v with a bound: %+v", p, r)
		}
	}
}

// Outlier detection takes who fails out for every policy that has a choice.
func TestOutlierDetectionHelpsEveryPolicy(t *testing.T) {
	longPlay(t)
	s := preset(t, "fail-fast-outlier", fixed)
	_, _, results := all(t, s)
	for _, r := range results {
		if r.Contender.Policy != lb.First && r.Errors > 0.002 {
			t.Errorf("%v: %.3f %%", r.Contender, 100*r.Errors)
		}
	}
}

func TestWeightsAreHeeded(t *testing.T) {
	s := small(fixed)
	s.Servers, s.Load = simulate.Servers(3, 40), 0.1
	s.Servers[0].Weight, s.Servers[2].Weight = 5, 0
	r := play(t, s, lb.Weighted)
	if math.Abs(r.Least-1) > 0.01 || math.Abs(r.Most-1) > 0.01 {
		t.Errorf("%+v", r)
	}
	for _, c := range s.Contenders(lb.Policies()) {
		if c.True {
			t.Errorf("%v, though weights are given", c)
		}
	}
	s = preset(t, "slow-quarter", fixed)
	both := 0
	for _, c := range s.Contenders([]lb.Policy{lb.Weighted, lb.LeastConn, lb.P2C}) {
		if c.True {
			both++
		}
	}
	if r, err := simulate.Run(s, simulate.Contender{Policy: lb.Weighted, True: true}); err != nil || r.Unstable || both != 2 {
		t.Errorf("true weights: %+v, %v, %d of them", r, err, both)
	}
}

func TestWhatCannotBePlayedIsRefused(t *testing.T) {
	for want, spoil := range map[string]func(*simulate.Scenario){
		"0 servers: give 1 to 1000":                        func(s *simulate.Scenario) { s.Servers = nil },
		"1001 servers: give 1 to 1000":                     func(s *simulate.Scenario) { s.Servers = simulate.Servers(1001, 1) },
		"0 balancers: give 1 to 100":                       func(s *simulate.Scenario) { s.Balancers = 0 },
		"101 balancers: give 1 to 100":                     func(s *simulate.Scenario) { s.Balancers = 101 },
		"999 requests: give 1000 to 5000000":               func(s *simulate.Scenario) { s.Requests = 999 },
		"5000001 requests: give 1000 to 5000000":           func(s *simulate.Scenario) { s.Requests = 5_000_001 },
		"a load of 0: give a share":                        func(s *simulate.Scenario) { s.Load = 0 },
		"a load of NaN: give a share":                      func(s *simulate.Scenario) { s.Load = math.NaN() },
		"a load of 2.5: give a share":                      func(s *simulate.Scenario) { s.Load = 2.5 },
		"server 2: 0 slots: give 1 to 1000":                func(s *simulate.Scenario) { s.Servers[1].Slots = 0 },
		"server 2: 0 times slower: give 0.001 to 1000":     func(s *simulate.Scenario) { s.Servers[1].Slow = 0 },
		"server 2: NaN times slower: give 0.001 to 1000":   func(s *simulate.Scenario) { s.Servers[1].Slow = math.NaN() },
		"server 5: a time is negative":                     func(s *simulate.Scenario) { s.Servers[4].Freeze = -1 },
		"server 1: it freezes for, or after, more than 30": func(s *simulate.Scenario) { s.Servers[0].Freeze = math.MaxInt64 },
		"4000 requests take more than 30 days":             func(s *simulate.Scenario) { s.Load = 1e-9 },
		"a time is negative":                               func(s *simulate.Scenario) { s.Warm = -1 },
		"no server has a weight: give one of them more than 0": func(s *simulate.Scenario) {
			s.Servers = make([]simulate.Server, 1)
			s.Servers[0] = simulate.Server{Slots: 1, Slow: 1}
		},
		"a bound of 0.5 on the load": func(s *simulate.Scenario) { s.Options.HashBound = 0.5 },
	} {
		s := small(fixed)
		spoil(&s)
		_, err := simulate.Run(s, simulate.Contender{})
		_, other := simulate.RunWith(s, nil)
		for _, err := range []error{err, other, s.Check()} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, not %q", err, want)
			}
		}
	}
	if _, err := simulate.Preset("esual", 1); err == nil || !strings.Contains(err.Error(), "slow-quarter-95") {
		t.Error(err)
	}
	if _, err := simulate.ParseKeys("zpf"); err == nil {
		t.Error("zpf is taken")
	}
	for _, k := range []simulate.Keys{simulate.Uniform, simulate.Zipf} {
		if got, err := simulate.ParseKeys(k.String()); err != nil || got != k {
			t.Errorf("%v: %v, %v", k, got, err)
		}
	}
}

func TestFewerRequestsMakeEverythingSooner(t *testing.T) {
	for _, s := range simulate.Presets(fixed) {
		for _, n := range []int{1000, s.Requests, 2 * s.Requests} {
			o := s.Of(n)
			part := min(1, float64(n)/float64(s.Requests))
			if o.Requests != n || o.Warm != time.Duration(part*float64(s.Warm)) || o.Servers[0].FreezeAt != time.Duration(part*float64(s.Servers[0].FreezeAt)) || o.Servers[0].Freeze != s.Servers[0].Freeze {
				t.Errorf("%s of %d: %+v", s.Name, n, o)
			}
		}
		if r := play(t, s.Of(1000), lb.P2CEWMA); r.Most < 1 || r.P50 <= 0 {
			t.Errorf("%s: %+v", s.Name, r)
		}
	}
	s := preset(t, "freeze", fixed)
	_ = s.Of(1000)
	if s.Servers[0].FreezeAt != 10*time.Second {
		t.Errorf("the scenario itself was changed: %+v", s.Servers[0])
	}
}

// Who listens no more ends it, soon.
func TestEachEndsWithTheFirstError(t *testing.T) {
	enough := errors.New("enough")
	told := 0
	err := simulate.Each([]simulate.Scenario{small(1), small(2), small(3)}, lb.Policies(), func(*simulate.Scenario, simulate.Result) error {
		if told++; told == 2 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || told != 2 {
		t.Errorf("%v after %d", err, told)
	}
	bad := small(fixed)
	bad.Load = -1
	if err := simulate.Each([]simulate.Scenario{bad}, lb.Policies(), nil); err == nil || !strings.Contains(err.Error(), "a load of -1") {
		t.Error(err)
	}
	if err := simulate.Each(nil, nil, nil); err != nil {
		t.Error(err)
	}
}

func TestTable(t *testing.T) {
	s := small(fixed)
	s.Servers[4].Slow, s.Servers[0].Fails = 4, true
	s.Keys, s.Options.SlowStart, s.Options.HashBound = simulate.Zipf, 2*time.Second, 1.25
	text, lines, results := all(t, s)
	if !strings.HasPrefix(text, "small: a few <servers>, load 0.7, 2 balancers, slow start 2s, zipf keys, bound 1.25\n  policy ") || strings.Count(text, "\n") != 2+len(results) {
		t.Errorf("table:\n%s", text)
	}
	width := 0
	for _, line := range strings.Split(strings.TrimSpace(text), "\n")[1:] {
		if width == 0 {
			width = len(line)
		}
		if len(line) != width || width > 80 {
			t.Errorf("%d wide, not %d: %s", len(line), width, line)
		}
	}
	for _, want := range []string{"p2c_ewma ", "least_conn, true weights ", " unstable ", "100.00 %"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	read := json.NewDecoder(strings.NewReader(lines))
	read.DisallowUnknownFields()
	for _, r := range results {
		var row struct {
			Scenario, About, Policy      string
			True                         bool `json:"true_weights"`
			Load                         float64
			Balancers, Servers, Requests int
			Seed                         uint64
			Outlier                      bool
			Keys                         string
			SlowStart                    float64 `json:"slow_start_ms"`
			HashBound                    float64 `json:"hash_bound"`
			Least                        float64 `json:"share_min"`
			Most                         float64 `json:"share_max"`
			P50                          float64 `json:"p50_ms"`
			P99                          float64 `json:"p99_ms"`
			P999                         float64 `json:"p999_ms"`
			Errors                       float64
			Unstable                     bool
		}
		if err := read.Decode(&row); err != nil {
			t.Fatal(err)
		}
		if row.Policy != r.Contender.Policy.String() || row.P99 != milliseconds(r.P99) || row.Errors != r.Errors || row.Seed != fixed || row.Servers != 5 || row.Outlier || row.Keys != "zipf" || row.SlowStart != 2000 || row.HashBound != 1.25 {
			t.Errorf("%+v is not %+v", row, r)
		}
	}
}

func TestPlotIsAnImage(t *testing.T) {
	s, other := small(fixed), small(fixed+1)
	s.Servers[4].Fails = true
	other.Name = "other"
	var results []simulate.Result
	err := simulate.Each([]simulate.Scenario{s, other}, lb.Policies(), func(_ *simulate.Scenario, r simulate.Result) error {
		results = append(results, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, shown := range map[string][]simulate.Result{"all": results, "none": nil, "first": results[9:10]} {
		var b bytes.Buffer
		if err := simulate.Plot(&b, []simulate.Scenario{s, other}, shown); err != nil {
			t.Fatal(err)
		}
		text := b.String()
		for d := xml.NewDecoder(strings.NewReader(text)); ; {
			if _, err := d.Token(); err != nil {
				if !errors.Is(err, io.EOF) {
					t.Errorf("%s: %v\n%s", name, err, text)
				}
				break
			}
		}
		if strings.Contains(text, "%!") || strings.Contains(text, "NaN") || strings.Contains(text, "Inf") || strings.Contains(text, "<servers>") {
			t.Errorf("%s:\n%s", name, text)
		}
		for _, r := range shown {
			if !strings.Contains(text, ">"+r.Contender.String()+"<") {
				t.Errorf("%s: %v is not there", name, r.Contender)
			}
		}
		if !strings.Contains(text, ">a few &lt;servers&gt;, load 0.7, 2 balancers<") || !strings.Contains(text, "prefers-color-scheme:dark") {
			t.Errorf("%s:\n%s", name, text)
		}
	}
}

func TestPercent(t *testing.T) {
	for share, want := range map[float64]string{0: "0", 0.00001: "< 0.01 %", 0.0001: "0.01 %", 0.05: "5.00 %", 1: "100.00 %"} {
		if got := simulate.Percent(share); got != want {
			t.Errorf("%v: %s, not %s", share, got, want)
		}
	}
}

func TestReadDescribesAPool(t *testing.T) {
	got, err := simulate.Read(map[string]string{
		"servers": "4", "slots": "2", "load": "0.5", "balancers": "3", "weights": "4, 3,2,1", "slow": "2x1.5", "freeze": "3x100ms", "fail": "1",
		"seed": "7", "requests": "200000", "keys": "zipf", "hash-bound": "1.5", "slow-start": "3s",
	}, nil)
	if err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	s := got[0]
	if s.About != "4 servers with 2 slots, weights 4,3,2,1, 2 of them 1.5 times slower, 3 freeze for 100ms, 1 fails at once" || s.Load != 0.5 || s.Balancers != 3 || s.Requests != 200_000 || s.Seed != 7 ||
		s.Keys != simulate.Zipf || s.Options.HashBound != 1.5 || s.Options.SlowStart != 3*time.Second {
		t.Errorf("%+v", s)
	}
	for i, v := range s.Servers {
		third := time.Duration(float64(s.Requests) / s.Rate() / 3 * float64(time.Second))
		want := simulate.Server{Weight: uint32(4 - i), Slots: 2, Slow: 1, Fails: i == 3}
		if i < 2 {
			want.Slow = 1.5
		}
		if i < 3 {
			want.FreezeAt, want.Freeze = v.FreezeAt, 100*time.Millisecond
			if d := v.FreezeAt - third; d.Abs() > time.Microsecond {
				t.Errorf("server %d freezes at %v, not %v", i+1, v.FreezeAt, third)
			}
		}
		if v != want {
			t.Errorf("server %d: %+v, not %+v", i+1, v, want)
		}
	}
}

// Whatever is written for the words: it is refused by name, or it can be played.
func TestReadTakesNothingThatCannotBePlayed(t *testing.T) {
	texts := []string{"", "0", "1", "-1", "1.5", "NaN", "Inf", "1e300", "x", "1x", "x1", "1x1", "0x0", "2xNaN", "1x-1s", "1s", "1x9223372036s", "5,1", "1,,", "99999999999999999999"}
	for _, word := range simulate.Words() {
		for _, text := range texts {
			got, err := simulate.Read(map[string]string{word: text}, nil)
			if err != nil {
				if !strings.HasPrefix(err.Error(), word) {
					t.Errorf("%s %q: %v", word, text, err)
				}
				continue
			}
			for _, s := range got {
				play(t, s.Of(1000), lb.LeastConn)
			}
		}
	}
}

// Weights that lb takes, however much servers differ, and that say what each can do.
func TestTrueWeightsOfAnyFactor(t *testing.T) {
	for _, slow := range [][]float64{{1, 1000}, {0.001, 1}, {0.001, 1000}, {0.005, 0.005}, {3, 1}, {700, 701}} {
		s := small(fixed)
		s.Servers = simulate.Servers(2, 1000)
		s.Servers[0].Slow, s.Servers[1].Slow, s.Load, s.Balancers = slow[0], slow[1], 0.1, 1
		r, err := simulate.Run(s, simulate.Contender{Policy: lb.Weighted, True: true})
		if err != nil || math.Abs(r.Most-1) > 0.01 || max(slow[0], slow[1]) < 1000 && math.Abs(r.Least-1) > 0.01 {
			t.Errorf("%v: %+v, %v", slow, r, err)
		}
	}
}
