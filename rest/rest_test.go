package rest_test

import (
	"math"
	"slices"
	"strconv"
	"testing"
	"time"
	"unsafe"

	"viaduct/rest"
)

const second = time.Second

var (
	site       = rest.Destination{Host: "site.example", Port: 443}
	other      = rest.Destination{Host: "other.example", Port: 443}
	everywhere = rest.Destination{}
)

// restsUntil finds the end of a rest.
func restsUntil(t *testing.T, table *rest.Table[string], to rest.Destination, way string, want time.Duration) {
	t.Helper()
	if !table.Rests(to, way, want-1) {
		t.Errorf("%s is over before %v", way, want)
	}
	if table.Rests(to, way, want) {
		t.Errorf("%s rests at %v still", way, want)
	}
}

func TestRestIsForOneDestinationAndOneWay(t *testing.T) {
	var table rest.Table[string]
	table.Rest(site, "a", 10*second, 0)
	restsUntil(t, &table, site, "a", 15*second)
	samePlace := site
	samePlace.Port = 80
	for _, to := range []rest.Destination{other, samePlace, everywhere, {Host: site.Host}, {Port: site.Port}} {
		if table.Rests(to, "a", 11*second) {
			t.Errorf("it rests for %v too", to)
		}
	}
	if table.Rests(site, "b", 11*second) {
		t.Error("another way rests too")
	}
}

func TestEverywhereIsEveryDestination(t *testing.T) {
	var table rest.Table[string]
	table.Rest(everywhere, "a", 0, 30*second)
	for _, to := range []rest.Destination{site, everywhere} {
		restsUntil(t, &table, to, "a", 30*second)
	}
	table.Rest(site, "a", 0, 0)
	table.Rest(site, "b", 0, 0)
	table.Well(site, "a", 1)
	if !table.Rests(site, "a", 1) {
		t.Error("one destination that is well says nothing about all others")
	}
	if got := table.Resting(site, 1, nil); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("%v rest", got)
	}
	table.Well(everywhere, "a", 1)
	if table.Rests(site, "a", 1) {
		t.Error("it is well everywhere, and rests")
	}
}

func TestEachRestInARowIsLonger(t *testing.T) {
	table := rest.Table[string]{Base: 2 * second, Most: 7 * second}
	var now time.Duration
	for _, length := range []time.Duration{2 * second, 4 * second, 6 * second, 7 * second, 7 * second} {
		table.Rest(site, "a", now, 0)
		now += length
		restsUntil(t, &table, site, "a", now)
	}
}

func TestLeastIsTheLeast(t *testing.T) {
	var table rest.Table[string]
	table.Rest(site, "a", 0, time.Hour)
	restsUntil(t, &table, site, "a", time.Hour)
	table.Rest(site, "a", time.Hour, second)
	restsUntil(t, &table, site, "a", time.Hour+10*second)
	table.Rest(site, "b", time.Hour, math.MaxInt64)
	if !table.Rests(site, "b", math.MaxInt64-1) {
		t.Error("it is not for ever")
	}
	table.Rest(site, "c", time.Hour, math.MinInt64)
	restsUntil(t, &table, site, "c", time.Hour+5*second)
}

// A hundred requests that fail together are one time.
func TestFailuresDuringARestDoNotLengthenIt(t *testing.T) {
	var table rest.Table[string]
	for i := range time.Duration(100) {
		table.Rest(site, "a", i, 0)
	}
	restsUntil(t, &table, site, "a", 5*second)
	table.Rest(site, "a", 4*second, 3*second)
	restsUntil(t, &table, site, "a", 7*second)
	table.Rest(site, "a", 4*second, second) // cannot shorten it
	table.Rest(site, "a", 4*second, -time.Hour)
	restsUntil(t, &table, site, "a", 7*second)
	table.Rest(site, "a", 7*second, 0)
	restsUntil(t, &table, site, "a", 17*second)
}

func TestWhatIsOverForLongIsForgotten(t *testing.T) {
	for _, to := range []rest.Destination{site, everywhere} {
		table := rest.Table[string]{Base: second, Most: 10 * second}
		table.Rest(to, "a", 0, 0)
		table.Rest(to, "a", 11*second-1, 0) // the second in a row
		restsUntil(t, &table, to, "a", 13*second-1)
		table.Rest(to, "a", 23*second-1, 0) // the first, again
		restsUntil(t, &table, to, "a", 24*second-1)
		// One that ended early is not remembered because an older one lasts.
		table.Rest(to, "long", 30*second, time.Hour)
		table.Rest(to, "b", 30*second, 0)
		table.Rest(to, "b", 41*second, 0)
		restsUntil(t, &table, to, "b", 42*second)
	}
}

func TestWellForgetsThePair(t *testing.T) {
	var table rest.Table[string]
	table.Well(site, "a", 0)
	table.Rest(site, "a", 0, 0)
	table.Rest(site, "b", 0, 0)
	table.Rest(other, "a", 0, 0)
	table.Well(site, "a", 6*second)
	table.Rest(site, "a", 7*second, 0)
	restsUntil(t, &table, site, "a", 12*second)
	for _, p := range []struct {
		to  rest.Destination
		way string
	}{{site, "b"}, {other, "a"}} {
		table.Rest(p.to, p.way, 7*second, 0)
		restsUntil(t, &table, p.to, p.way, 17*second)
	}
}

func TestForgetIsForOneWay(t *testing.T) {
	var table rest.Table[string]
	table.Forget("a")
	for i := range 100 {
		to := rest.Destination{Host: strconv.Itoa(i)}
		table.Rest(to, "a", 0, 0)
		table.Rest(to, "b", 0, 0)
	}
	table.Rest(everywhere, "a", 0, 0)
	table.Rest(everywhere, "b", 0, 0)
	table.Forget("a")
	if n, all := table.Count("a", 1); n != 0 || all {
		t.Errorf("a rests for %d, everywhere: %v", n, all)
	}
	if n, all := table.Count("b", 1); n != 100 || !all {
		t.Errorf("b rests for %d, everywhere: %v", n, all)
	}
}

func TestCountIsOfWhatRestsNow(t *testing.T) {
	var table rest.Table[string]
	for i := range 10 {
		table.Rest(rest.Destination{Port: uint16(1 + i)}, "a", 0, time.Duration(10+i)*second)
	}
	table.Rest(everywhere, "a", 0, 0)
	for now, want := range map[time.Duration]int{0: 10, 10 * second: 9, 15*second - 1: 5, 19 * second: 0} {
		if n, all := table.Count("a", now); n != want || all != (now < 5*second) {
			t.Errorf("at %v it rests for %d, want %d; everywhere: %v", now, n, want, all)
		}
	}
}

func TestRestingAppends(t *testing.T) {
	var table rest.Table[string]
	table.Rest(site, "a", 0, 0)
	table.Rest(site, "b", 0, 0)
	table.Rest(everywhere, "b", 0, 0)
	table.Rest(other, "c", 0, 0)
	if got := table.Resting(site, 1, []string{"x", "a"}); !slices.Equal(got, []string{"x", "a", "b"}) {
		t.Errorf("%v", got)
	}
	if got := table.Resting(everywhere, 1, nil); !slices.Equal(got, []string{"b"}) {
		t.Errorf("%v rest everywhere", got)
	}
	if got := table.Resting(site, 5*second, nil); got != nil {
		t.Errorf("%v rest when all is over", got)
	}
}

// Whoever asks for many bad hosts pushes out the oldest pairs, and no way that
// rests everywhere.
func TestSizeIsBounded(t *testing.T) {
	var table rest.Table[string]
	table.Rest(everywhere, "a", 0, time.Hour)
	host := func(i int) rest.Destination { return rest.Destination{Host: strconv.Itoa(i)} }
	const many = 20_000
	for i := range many {
		table.Rest(host(0), "b", time.Duration(i), time.Hour) // again and again: never the oldest
		table.Rest(host(i), "c", time.Duration(i), time.Hour)
	}
	if n, _ := table.Count("c", many); n != 4095 {
		t.Errorf("%d pairs of c are kept, want 4095", n)
	}
	for i, want := range map[int]bool{many - 1: true, many - 4095: true, many - 4096: false, 0: false} {
		if table.Rests(host(i), "c", many) != want && i != 0 {
			t.Errorf("host %d of %d: kept %v", i, many, !want)
		}
	}
	if !table.Rests(host(0), "b", many) {
		t.Error("the pair that failed last was pushed out")
	}
	if !table.Rests(site, "a", many) {
		t.Error("it does not rest everywhere any more")
	}
	small := rest.Table[string]{Size: 1}
	small.Rest(site, "a", 0, 0)
	small.Rest(other, "a", 0, 0)
	if small.Rests(site, "a", 1) || !small.Rests(other, "a", 1) {
		t.Error("a table of one does not keep the newest")
	}
}

// The name of a request stands in a buffer that another request gets.
func TestNamesAreItsOwn(t *testing.T) {
	var table rest.Table[string]
	buffer := []byte("site.example")
	table.Rest(rest.Destination{Host: unsafe.String(&buffer[0], len(buffer)), Port: 443}, "a", 0, 0)
	copy(buffer, "evil")
	if !table.Rests(site, "a", 1) {
		t.Error("the name changed")
	}
}
