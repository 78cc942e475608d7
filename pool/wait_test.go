package pool_test

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"viaduct/clock"
	"viaduct/health"
	"viaduct/parent"
	"viaduct/pool"
)

// oracle takes connections and says the same on each, or nothing.
type oracle struct {
	net.Listener
	open  sync.WaitGroup
	asked atomic.Int32
}

func consult(t *testing.T, says string) *oracle {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &oracle{Listener: l}
	o.open.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			o.asked.Add(1)
			o.open.Go(func() {
				defer nc.Close()
				_, _ = nc.Read(make([]byte, 4096))
				_, _ = io.WriteString(nc, says)
				if says == "" {
					_, _ = io.Copy(io.Discard, nc) // until it is given up
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = o.Close()
		o.open.Wait()
	})
	return o
}

func (o *oracle) endpoint(id string) parent.Endpoint {
	hop := parent.Proxy{Host: "127.0.0.1", Port: uint16(o.Addr().(*net.TCPAddr).Port)}
	return parent.Endpoint{ID: id, Weight: 1, Hops: []parent.Proxy{hop}}
}

// run runs a pool, until the test ends.
func run(t *testing.T, p *pool.Pool) {
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { p.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}

// waiter is a request that waits for the first endpoint of a pool.
type waiter struct {
	pool.Request
	lost atomic.Int32
}

func wait(t *testing.T, p *pool.Pool, dial time.Duration, now time.Duration) *waiter {
	t.Helper()
	w := new(waiter)
	a := to("x.test")
	a.DialTimeout = dial
	if err := w.Begin(p, a, now); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Pick(now); err != nil {
		t.Fatal(err)
	}
	w.Await(now, func() { w.lost.Add(1) })
	return w
}

func TestSilentEndpointIsGivenUp(t *testing.T) {
	mute := consult(t, "")
	o := inOrder(3)
	o.Endpoints[0] = mute.endpoint("a")
	p := newPool(t, o)
	var all []*waiter
	for range 4 {
		all = append(all, wait(t, p, 100*time.Millisecond, clock.Now()))
	}
	left := wait(t, p, 100*time.Millisecond, clock.Now())
	if left.Awaited() {
		t.Error("told at once")
	}
	run(t, p)
	for _, w := range all {
		if !eventually(func() bool { return w.lost.Load() == 1 }) {
			t.Fatal("it is waited for")
		}
	}
	if !eventually(func() bool { return endpoint(t, p, "a").Passive == "ejected" }) {
		t.Errorf("%+v", endpoint(t, p, "a"))
	}
	for _, w := range all {
		if again := w.Awaited(); !again || !w.Awaited() {
			t.Error("it does not know")
		}
		w.Failed(clock.Now(), io.ErrUnexpectedEOF)
		if e, err := w.Pick(clock.Now()); err != nil || e.ID() != "b" {
			t.Error(e, err)
		}
		w.Await(clock.Now(), func() { t.Error("of another endpoint") })
		if w.Awaited() {
			t.Error("what is over is told again")
		}
		w.Answered(clock.Now())
		w.End(clock.Now(), served)
	}
	left.End(clock.Now(), health.Report{Blame: health.ByClient})
	if n := left.lost.Load(); n != 0 || mute.asked.Load() != 1 {
		t.Errorf("told %d times who no longer waited; asked %d times", n, mute.asked.Load())
	}
	idle(t, p)
}

func TestEndpointThatSpeaksIsWaitedFor(t *testing.T) {
	h := newHand()
	speaks, silent := consult(t, "HTTP/1.1 400 What\r\n\r\n"), consult(t, "SSH-2.0-x\r\n")
	o := inOrder(2)
	o.Now = h.now
	o.Endpoints = []parent.Endpoint{speaks.endpoint("a"), silent.endpoint("b")}
	p := newPool(t, o)
	run(t, p)
	dial := 4 * time.Second
	w := wait(t, p, dial, h.now())
	h.advance(dial / 4)
	other := wait(t, p, dial, h.now())
	h.advance(dial/4 + time.Millisecond)
	if !eventually(func() bool { return speaks.asked.Load() == 1 }) {
		t.Fatal("it is never asked")
	}
	other.Answered(h.now())
	h.advance(time.Minute)
	if !eventually(func() bool { return speaks.asked.Load() == 2 }) { // of who answers nobody any more
		t.Fatal("it is not asked again")
	}
	if w.Awaited() || other.Awaited() || w.lost.Load()+other.lost.Load() > 0 {
		t.Error("it was given up")
	}
	w.End(h.now(), served)
	other.End(h.now(), served)
	idle(t, p)
	if a := endpoint(t, p, "a"); a.Errors != 0 || a.Failures != 0 {
		t.Errorf("%+v", a)
	}
}

// Whoever answers anybody is not asked, however long another one waits.
func TestEndpointThatAnswersIsNotAsked(t *testing.T) {
	h := newHand()
	busy, idler := consult(t, "x"), consult(t, "x")
	o := inOrder(2)
	o.Now = h.now
	o.Endpoints = []parent.Endpoint{busy.endpoint("a"), idler.endpoint("b")}
	o.Endpoints[0].Limit = 4
	p := newPool(t, o)
	var all []*waiter
	for range 5 { // one of them at the second
		all = append(all, wait(t, p, time.Second, h.now()))
	}
	h.advance(time.Minute)
	all[0].Answered(h.now())
	h.advance(time.Second / 4)
	run(t, p)
	if !eventually(func() bool { return idler.asked.Load() == 1 }) {
		t.Fatal("nobody is asked")
	}
	if n := busy.asked.Load(); n != 0 {
		t.Errorf("who answers is asked %d times", n)
	}
	for _, w := range all {
		w.End(h.now(), served)
	}
	idle(t, p)
}

// The line is one whoever leaves it, and in whichever order.
func TestLineOfThoseWhoWait(t *testing.T) {
	for _, seed := range []uint64{1, 2, rand.Uint64()} {
		dice := rand.New(rand.NewPCG(seed, 0))
		mute := consult(t, "")
		o := inOrder(1)
		o.Endpoints[0] = mute.endpoint("a")
		p := newPool(t, o)
		waiting := map[*waiter]bool{}
		for range 300 {
			waiting[wait(t, p, 50*time.Millisecond, clock.Now())] = true
			for w := range waiting {
				switch dice.IntN(8) {
				case 0:
					w.Answered(clock.Now())
				case 1:
					w.Failed(clock.Now(), errDown)
				case 2:
					w.Awaited()
				default:
					continue
				}
				w.End(clock.Now(), health.Report{Blame: health.ByUs})
				delete(waiting, w)
			}
		}
		var sum sync.WaitGroup
		run(t, p)
		for w := range waiting {
			sum.Go(func() {
				if !eventually(func() bool { return w.lost.Load() == 1 }) {
					t.Error("it waits for ever")
				}
				w.End(clock.Now(), served)
			})
		}
		sum.Wait()
		idle(t, p)
		if t.Failed() {
			t.Logf("seed %d", seed)
			return
		}
	}
}
