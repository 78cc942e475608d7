package overload_test

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"viaduct/overload"
)

var kinds = []overload.Kind{overload.Connections, overload.Pending, overload.Requests, overload.Retries}

// TestACircuitCountsByItsLimits compares it with plain numbers, limits that
// change included.
func TestACircuitCountsByItsLimits(t *testing.T) {
	random(t, func(t *testing.T, dice *rand.Rand) {
		var c overload.Circuit
		var limit, used [4]int
		var refused [4]uint64
		for range 5000 {
			k := kinds[dice.IntN(len(kinds))]
			switch dice.IntN(20) {
			case 0:
				for i := range limit {
					limit[i] = max(0, dice.IntN(12)-2)
				}
				c.Update(overload.Limits{Connections: limit[0], Pending: limit[1], Requests: limit[2], Retries: limit[3]})
			case 1, 2, 3, 4, 5, 6, 7, 8:
				if used[k] > 0 {
					used[k]--
					c.Release(k)
				}
			default:
				room := limit[k] == 0 || used[k] < limit[k]
				if c.Acquire(k) != room {
					t.Fatalf("%s: %d of %d are used, and there is room: %v", k, used[k], limit[k], !room)
				}
				if room {
					used[k]++
				} else {
					refused[k]++
				}
			}
			if c.InUse(k) != used[k] || c.Refused(k) != refused[k] || c.Limit(k) != limit[k] {
				t.Fatalf("%s: %d used, %d refused, limit %d, want %d, %d, %d", k, c.InUse(k), c.Refused(k), c.Limit(k), used[k], refused[k], limit[k])
			}
		}
	})
}

// TestACircuitIsNeverExceededTogether, nor refuses anybody while there is room:
// of as many workers as the limit, none is ever refused.
func TestACircuitIsNeverExceededTogether(t *testing.T) {
	for _, c := range []struct {
		name    string
		limit   int
		workers int
	}{{"more than may", 3, 8}, {"as many as may", 8, 8}, {"no limit", 0, 8}} {
		circuit := overload.NewCircuit(overload.Limits{Connections: c.limit, Pending: c.limit, Requests: c.limit, Retries: c.limit})
		var inside [4]atomic.Int64
		var over, acquired, refused atomic.Int64
		together(c.workers, func(worker int) {
			for i := range 4000 {
				k := kinds[(i+worker)%len(kinds)]
				if !circuit.Acquire(k) {
					refused.Add(1)
					continue
				}
				acquired.Add(1)
				if n := inside[k].Add(1); c.limit > 0 && n > int64(c.limit) {
					over.Add(1)
				}
				inside[k].Add(-1)
				circuit.Release(k)
			}
		})
		if over.Load() > 0 {
			t.Errorf("%s: %d times there were more than %d", c.name, over.Load(), c.limit)
		}
		if c.workers <= c.limit && refused.Load() > 0 || c.limit == 0 && refused.Load() > 0 {
			t.Errorf("%s: %d are refused", c.name, refused.Load())
		}
		said := uint64(0)
		for _, k := range kinds {
			if said += circuit.Refused(k); circuit.InUse(k) != 0 {
				t.Errorf("%s: %d %s in use at the end", c.name, circuit.InUse(k), k)
			}
		}
		if said != uint64(refused.Load()) || acquired.Load()+refused.Load() != int64(c.workers*4000) {
			t.Errorf("%s: %d acquired, %d refused, said to be %d", c.name, acquired.Load(), refused.Load(), said)
		}
	}
}

// TestALoweredLimitIsWaitedFor: what is in use stays.
func TestALoweredLimitIsWaitedFor(t *testing.T) {
	c := overload.NewCircuit(overload.Limits{Requests: 3})
	for range 3 {
		if !c.Acquire(overload.Requests) {
			t.Fatal("no room")
		}
	}
	c.Update(overload.Limits{Requests: 1, Retries: -1})
	for used := 3; used > 0; used-- {
		if c.Acquire(overload.Requests) || c.InUse(overload.Requests) != used {
			t.Errorf("%d in use, and room", c.InUse(overload.Requests))
		}
		c.Release(overload.Requests)
	}
	if !c.Acquire(overload.Requests) || !c.Acquire(overload.Retries) {
		t.Error("no room for the first")
	}
}

func TestKindsHaveNames(t *testing.T) {
	for k, want := range []string{"connections", "pending", "requests", "retries", "unknown"} {
		if got := overload.Kind(k).String(); got != want {
			t.Errorf("kind %d is %q, want %q", k, got, want)
		}
	}
}
