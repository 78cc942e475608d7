package pool_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"viaduct/clock"
	"viaduct/health"
	"viaduct/lb"
	"viaduct/parent"
	"viaduct/pool"
	"viaduct/probe"
)

// door takes connections, and ends them when it is closed.
type door struct {
	net.Listener
	open sync.WaitGroup
}

func listen(t *testing.T, addr string) *door {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	d := &door{Listener: l}
	d.open.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			_ = nc.Close()
		}
	})
	t.Cleanup(d.stop)
	return d
}

func (d *door) stop() {
	_ = d.Close()
	d.open.Wait()
}

func (d *door) endpoint(id string) parent.Endpoint {
	hop := parent.Proxy{Host: "127.0.0.1", Port: uint16(d.Addr().(*net.TCPAddr).Port)}
	return parent.Endpoint{ID: id, Weight: 1, Hops: []parent.Proxy{hop}}
}

// A parent that dies is left by requests at once, and has them again when it is
// back.
func TestKilledParentIsLeftAndFoundAgain(t *testing.T) {
	first, second := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	p := newPool(t, pool.Options{
		Name: "parents", Retries: 2, LB: lb.Options{Policy: lb.RoundRobin},
		Checks:    []probe.Check{{}},
		Health:    health.Options{Interval: 20 * time.Millisecond, Fast: 5 * time.Millisecond, Timeout: patience},
		Endpoints: []parent.Endpoint{first.endpoint("first"), second.endpoint("second"), {ID: "direct"}},
	})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { p.Run(ctx) })
	var r pool.Request
	ask := func() string {
		a := to("x.test")
		a.DialTimeout = patience
		if err := r.Begin(p, a, clock.Now()); err != nil {
			t.Fatal(err)
		}
		nc, e, err := pool.Open(ctx, &r, func(ctx context.Context, e *pool.Endpoint) (net.Conn, error) {
			return e.Reach(ctx, nil, "")
		}, func(nc net.Conn) { _ = nc.Close() })
		if err != nil {
			t.Fatal(err)
		}
		_ = nc.Close()
		r.Answered(clock.Now())
		l := r.Take()
		l.End(clock.Now(), health.Report{Received: 6})
		return e.ID()
	}
	for range 10 {
		ask()
	}
	first.stop()
	for range 50 {
		if ask() != "second" {
			t.Fatal("given to what is dead")
		}
	}
	if !eventually(func() bool {
		return endpoint(t, p, "first").Standing == "sick" && endpoint(t, p, "direct").Active == "up"
	}) {
		t.Errorf("%+v", p.View())
	}
	listen(t, first.Addr().String())
	if !eventually(func() bool { return ask() == "first" }) {
		t.Error("it is never used again")
	}
	cancel()
	running.Wait()
	idle(t, p)
}

func TestEndpointGoesItsWay(t *testing.T) {
	o := inOrder(2)
	o.Endpoints[1].Hops = nil
	p := newPool(t, o)
	r := begin(t, p, to("x.test"), clock.Now())
	e, _ := r.Pick(clock.Now())
	if e.Direct() || !e.Absolute() || e.BasicAuth() != "" || e.ID() != "a" {
		t.Error(e.ID())
	}
	r.Failed(clock.Now(), errDown)
	if e, _ = r.Pick(clock.Now()); !e.Direct() || e.Absolute() {
		t.Error(e.ID())
	}
	r.End(clock.Now(), served)
}
