package relay_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"viaduct/fault"
	"viaduct/relay"
)

var errRevoked = fault.New(fault.RequestDenied, errors.New("revoked"))

func TestEachTellsTheTags(t *testing.T) {
	var set relay.Set
	var rigs []*rig
	for i := range 5 {
		rigs = append(rigs, open(t, plan{set: &set, options: relay.Options{Tag: i}}))
	}
	rigs = append(rigs, open(t, plan{set: &set}))
	tags := func() (all []int) {
		set.Each(func(tag any, _ func(error)) {
			if tag == nil {
				tag = -1
			}
			all = append(all, tag.(int))
		})
		slices.Sort(all)
		return all
	}
	if got, want := tags(), []int{-1, 0, 1, 2, 3, 4}; !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
	_ = rigs[3].client.Close()
	_ = rigs[3].server.Close()
	rigs[3].finish()
	if want := []int{-1, 0, 1, 2, 4}; !poll(patience, func() bool { return slices.Equal(tags(), want) }) {
		t.Errorf("told %v, want %v", tags(), want)
	}
	cut(t, &set)
	if got := tags(); len(got) > 0 {
		t.Errorf("told %v", got)
	}
}

func TestEachCutsWhatItIsToldTo(t *testing.T) {
	for _, client := range []string{"tcp", "unix", "tls", "pipe"} {
		for _, server := range []string{"tcp", "tls"} {
			var set relay.Set
			unwanted := open(t, plan{set: &set, networks: [2]string{client, server}, options: relay.Options{Tag: "unwanted"}})
			wanted := open(t, plan{set: &set, networks: [2]string{client, server}, options: relay.Options{Tag: "wanted"}})
			unwanted.say(unwanted.client, unwanted.server, "hello")
			var later func(error)
			set.Each(func(tag any, cut func(error)) {
				if tag == "unwanted" {
					cut(errRevoked)
					later = cut
				}
			})
			unwanted.finishWith(errRevoked).endedBy(t, relay.None)
			if n, err := unwanted.client.Read(make([]byte, 1)); n != 0 || err == nil {
				t.Errorf("read %d bytes, %v", n, err)
			}
			later(errUnwanted) // of one that has ended
			wanted.say(wanted.client, wanted.server, "still here")
			wanted.say(wanted.server, wanted.client, "so are we")
			_ = wanted.client.Close()
			_ = wanted.server.Close()
			wanted.finish()
		}
	}
}

// The first cause counts, and done is called once.
func TestTunnelIsCutOnce(t *testing.T) {
	var set relay.Set
	r := open(t, plan{set: &set})
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() { set.Each(func(_ any, cut func(error)) { cut(errRevoked) }) })
	}
	group.Wait()
	r.finishWith(errRevoked)
	cut(t, &set)
	if len(r.ended) > 0 {
		t.Errorf("ended again: %v", <-r.ended)
	}
}

// What is called by Each may use the Set.
func TestEachHoldsNoLock(t *testing.T) {
	var set relay.Set
	r := open(t, plan{set: &set})
	var other *rig
	set.Each(func(_ any, cutThis func(error)) {
		other = open(t, plan{set: &set})
		set.Each(func(any, func(error)) {})
		if set.Len() != 2 {
			t.Errorf("%d tunnels", set.Len())
		}
		cutThis(errRevoked)
		r.finishWith(errRevoked)
		cut(t, &set)
	})
	other.finishWith(relay.ErrDrained)
}

// Each tunnel is cut once, as soon as Each tells of it.
func TestCutWhileTunnelBegins(t *testing.T) {
	const tunnels = 300
	var set relay.Set
	stop := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		known := make(map[any]bool)
		for {
			set.Each(func(tag any, cut func(error)) {
				if !known[tag] {
					known[tag] = true
					cut(errRevoked)
				}
			})
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	for i := range tunnels {
		o := relay.Options{Tag: i, Idle: time.Hour}
		if i%2 == 0 {
			o.Look, o.LookFor = new(sights).look(waits), time.Hour
		}
		r := open(t, plan{set: &set, options: o, fromClient: "early", networks: [2]string{[]string{"tcp", "tls", "pipe"}[i%3], "tcp"}})
		r.finishWith(errRevoked)
	}
	close(stop)
	group.Wait()
}

// meddler is a deaf connection that ends every tunnel of a set when it is told
// of an end.
type meddler struct {
	deaf
	set *relay.Set
}

func (m meddler) CloseWrite() error {
	m.set.Each(func(_ any, cut func(error)) { cut(errRevoked) })
	return nil
}

func TestCutWhileAnEndIsPassedOn(t *testing.T) {
	t.Parallel()
	var set relay.Set
	client, inner := pair(t, "tcp")
	server, outer := pair(t, "tcp")
	r := &rig{t: t, client: client, server: server, ended: make(chan end, 1)}
	set.Go(inner, meddler{deaf{outer}, &set}, nil, nil, relay.Options{}, func(s relay.Stats, err error) { r.ended <- end{s, err} })
	r.say(client, server, "hello")
	closeWrite(t, client)
	r.finishWith(errRevoked)
}
