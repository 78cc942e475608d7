package pool_test

import (
	"strconv"
	"testing"
	"time"

	"viaduct/clock"
	"viaduct/health"
	"viaduct/lb"
	"viaduct/pool"
)

// exchange is what a request costs that nothing goes wrong with.
func exchange(t testing.TB, p *pool.Pool, r *pool.Request, a pool.Ask, now time.Duration) {
	if err := r.Begin(p, a, now); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Pick(now); err != nil {
		t.Fatal(err)
	}
	r.Await(now, nobody)
	r.Answered(now + time.Millisecond)
	if r.Awaited() {
		t.Fatal("given up")
	}
	r.End(now+2*time.Millisecond, served)
}

func nobody() {}

// tunnel is the same for a tunnel.
func tunnel(t testing.TB, p *pool.Pool, r *pool.Request, a pool.Ask, now time.Duration) {
	if err := r.Begin(p, a, now); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Pick(now); err != nil {
		t.Fatal(err)
	}
	r.Answered(now + time.Millisecond)
	l := r.Take()
	l.End(now+2*time.Millisecond, health.Report{Received: 1})
}

func TestNothingIsAllocated(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, n := range []int{1, 4, 64} {
		for _, policy := range lb.Policies() {
			for _, rests := range []bool{false, true} {
				o := inOrder(n)
				o.LB.Policy, o.Throttle, o.Adaptive = policy, true, true
				p := newPool(t, o)
				now := clock.Now()
				if rests && n > 1 { // as another endpoint has answered
					r := begin(t, p, to("x.test"), now)
					_, _ = r.Pick(now)
					r.Failed(now, answer("503 No"))
					_, _ = r.Pick(now)
					r.Answered(now)
					r.End(now, served)
				}
				var r pool.Request
				a := to("x.test")
				a.Keyed = true
				i := uint64(0)
				if got := testing.AllocsPerRun(1000, func() {
					i++
					a.Key = i
					if i%2 == 0 {
						exchange(t, p, &r, a, now)
					} else {
						tunnel(t, p, &r, a, now)
					}
				}); got != 0 {
					t.Errorf("%d endpoints, %v, resting %v: %v allocations", n, policy, rests, got)
				}
			}
		}
	}
}

func BenchmarkExchange(b *testing.B) {
	for _, n := range []int{1, 4, 64} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			o := inOrder(n)
			o.LB.Policy = lb.P2CEWMA
			p := newPool(b, o)
			var r pool.Request
			a := to("x.test")
			for b.Loop() {
				exchange(b, p, &r, a, clock.Now())
			}
		})
	}
}

// All that a pool can be asked to heed.
func BenchmarkGuarded(b *testing.B) {
	o := inOrder(64)
	o.LB.Policy, o.Throttle, o.Adaptive = lb.P2CEWMA, true, true
	p := newPool(b, o)
	var r pool.Request
	a := to("x.test")
	for b.Loop() {
		exchange(b, p, &r, a, clock.Now())
	}
}
