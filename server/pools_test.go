package server_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"viaduct/config"
	"viaduct/parent"
	"viaduct/pool"
	"viaduct/verdict"
)

// throughPools runs a server from the text of its pools, by which everything leaves.
func throughPools(t *testing.T, pools string) (r *running, change func(pools string)) {
	t.Helper()
	src := new(source)
	set := func(pools string) {
		t.Helper()
		conf, err := config.Read("v.yaml", []byte("log: {access: {path: \"off\"}}\nforward: [{listen: 127.0.0.1:0, via: out, allow_private: true, connect_ports: any}]\npools:\n"+pools))
		if err != nil {
			t.Fatal(err)
		}
		src.set(conf, nil)
	}
	set(pools)
	r = runWith(t, src.load, 1)
	return r, func(pools string) {
		t.Helper()
		set(pools)
		if err := r.server.Reload(); err != nil {
			t.Fatal(err)
		}
	}
}

// tunnelling is a parent that answers every CONNECT and says everything back.
func tunnelling(t *testing.T) string {
	t.Helper()
	l := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { echo(c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); serving.Wait() })
	return l.Addr().String()
}

func echo(c net.Conn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	var got []byte
	for b := make([]byte, 1); !strings.HasSuffix(string(got), "\r\n\r\n"); got = append(got, b[0]) {
		if _, err := c.Read(b); err != nil {
			return
		}
	}
	_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
	_, _ = io.Copy(c, c)
}

// opened opens a tunnel and uses it.
func opened(t *testing.T, r *running) net.Conn {
	t.Helper()
	c := r.dial()
	say(t, c, "CONNECT example.test:443 HTTP/1.1\r\nHost: x\r\n\r\n")
	hear(t, c, "200 Connection established\r\n\r\n")
	works(t, c)
	return c
}

func works(t *testing.T, c net.Conn) {
	t.Helper()
	say(t, c, "hello\n")
	hear(t, c, "hello\n")
}

func outPool(t *testing.T, r *running) *pool.Pool {
	t.Helper()
	return must[*pool.Pool](t)(r.server.Pool("out"))
}

// endpoint is how one is.
func endpoint(t *testing.T, r *running, id string) pool.EndpointView {
	t.Helper()
	for _, e := range r.server.Status().Pools[0].Endpoints {
		if e.ID == id {
			return e
		}
	}
	t.Fatalf("there is no %s", id)
	return pool.EndpointView{}
}

func TestAReloadKeepsWhatAPoolKnows(t *testing.T) {
	addr := tunnelling(t)
	id := "http://" + addr
	list := "  out: {endpoints: [%q], health: {check: none}%s}\n"
	r, change := throughPools(t, fmt.Sprintf(list, id, ""))
	before := outPool(t, r)
	c := opened(t, r)
	if err := before.SetAdmin(id, verdict.Drain, "me"); err != nil {
		t.Fatal(err)
	}
	change(fmt.Sprintf(list, id, ", retries: 5") + "  other: {endpoints: [direct]}\n")
	if outPool(t, r) != before {
		t.Error("it is another pool")
	}
	if e := endpoint(t, r, id); e.InFlight != 1 || e.Picks != 1 || e.Admin != "drain" {
		t.Errorf("%+v", e)
	}
	works(t, c)
	change("  out: {endpoints: [" + id + ", \"http://127.0.0.1:9?weight=3\"], health: {check: none}}\n")
	if e := endpoint(t, r, id); e.InFlight != 1 || e.Picks != 1 || e.Admin != "drain" {
		t.Errorf("%+v", e)
	}
	if e := endpoint(t, r, "http://127.0.0.1:9"); e.Weight != 3 {
		t.Errorf("%+v", e)
	}
	works(t, c)
}

func TestDrainWaitsForTunnelsAndThenCutsThem(t *testing.T) {
	one, two := "http://"+tunnelling(t), "http://"+tunnelling(t)
	r, _ := throughPools(t, fmt.Sprintf("  out: {endpoints: [%q, %q], balance: first, health: {check: none}}\n", one, two))
	first := opened(t, r)
	ended := make(chan int)
	go func() {
		cut, err := r.server.Drain(context.Background(), "out", one, "me")
		if err != nil {
			t.Error(err)
		}
		ended <- cut
	}()
	poll(t, "it drains", func() bool { return endpoint(t, r, one).Admin == "drain" })
	second := opened(t, r)
	if e := endpoint(t, r, two); e.InFlight != 1 {
		t.Errorf("a drained endpoint gets new tunnels: %+v", e)
	}
	works(t, first)
	_ = first.Close()
	if cut := <-ended; cut != 0 {
		t.Errorf("%d were cut", cut)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if cut, err := r.server.Drain(ctx, "out", two, "me"); cut != 1 || err != nil {
		t.Errorf("%d were cut, %v", cut, err)
	}
	over(t, second)
	poll(t, "nothing is under way", func() bool { return endpoint(t, r, two).InFlight == 0 })
	if err := outPool(t, r).SetAdmin(two, verdict.Enabled, "me"); err != nil {
		t.Fatal(err)
	}
	_ = opened(t, r).Close()
	if _, err := r.server.Drain(context.Background(), "in", two, "me"); err == nil {
		t.Error("there is no such pool")
	}
}

func TestAnEndpointIsAddedAndRemovedWhileItRuns(t *testing.T) {
	one, two := "http://"+tunnelling(t), "http://"+tunnelling(t)
	list := fmt.Sprintf("  out: {endpoints: [%q], balance: first, health: {check: none}%%s}\n", one)
	r, change := throughPools(t, fmt.Sprintf(list, ""))
	p, c := outPool(t, r), opened(t, r)
	if err := p.Add(must[parent.Endpoint](t)(parent.ParseEndpoint(two))); err != nil {
		t.Fatal(err)
	}
	if err := p.Remove(one); err != nil {
		t.Fatal(err)
	}
	d := opened(t, r)
	works(t, c)
	if e := endpoint(t, r, two); e.InFlight != 1 {
		t.Errorf("%+v", e)
	}
	change(fmt.Sprintf(list, ", retries: 1")) // the list is the same: what was said since stays
	if e := endpoint(t, r, two); e.InFlight != 1 || e.Picks != 1 {
		t.Errorf("%+v", e)
	}
	works(t, d)
}

func TestEndpointsAreCheckedAsLongAsTheConfigurationHasThem(t *testing.T) {
	addr, guests := origin(t)
	id := "http://" + addr
	r, change := throughPools(t, fmt.Sprintf("  out: {endpoints: [%q, \"http://127.0.0.1:1\"], health: {interval: 10ms, timeout: 1s, fall: 1}}\n", id))
	poll(t, "one is up and the other down", func() bool {
		return endpoint(t, r, id).Active == "up" && endpoint(t, r, "http://127.0.0.1:1").Active == "down"
	})
	if !strings.Contains(r.log.String(), `msg="endpoint changed" pool=out endpoint=http://127.0.0.1:1 fact=active`) {
		t.Errorf("nothing is told of it: %s", r.log)
	}
	change("  out: {endpoints: [direct]}\n  unused: {endpoints: [\"http://127.0.0.1:1\"]}\n")
	change("  out: {endpoints: [direct]}\n")
	asked := len(guests)
	for len(guests) > 0 {
		_ = (<-guests).Close()
	}
	if asked == 0 {
		t.Error("it was never asked")
	}
	r.stop()
	if err := r.finish(); err != nil { // TestMain looks for goroutines that are left
		t.Error(err)
	}
}
