package simulate

import (
	"runtime"
	"sync"
	"sync/atomic"

	"viaduct/lb"
)

// Each plays every scenario with every policy that has something to show there,
// on all processors, and tells the results in order, each as soon as it can. It
// ends with the first error, of a play or of tell.
func Each(scenarios []Scenario, policies []lb.Policy, tell func(*Scenario, Result) error) error {
	t := &tournament{}
	for i := range scenarios {
		for _, c := range scenarios[i].Contenders(policies) {
			t.plays = append(t.plays, &single{scenario: &scenarios[i], contender: c, done: make(chan struct{})})
		}
	}
	var workers sync.WaitGroup
	defer workers.Wait()
	defer t.over.Store(true)
	for range min(runtime.GOMAXPROCS(0), len(t.plays)) {
		workers.Go(t.work)
	}
	for _, p := range t.plays {
		<-p.done
		if p.err != nil {
			return p.err
		}
		if err := tell(p.scenario, p.result); err != nil {
			return err
		}
	}
	return nil
}

// tournament is what Each has to do.
type tournament struct {
	plays []*single
	next  atomic.Int64
	over  atomic.Bool // nobody waits for the rest
}

// single is one play. Who closes done has written the result.
type single struct {
	scenario  *Scenario
	contender Contender
	result    Result
	err       error
	done      chan struct{}
}

// work is the goroutine of one processor.
func (t *tournament) work() {
	for !t.over.Load() {
		i := int(t.next.Add(1)) - 1
		if i >= len(t.plays) {
			return
		}
		p := t.plays[i]
		p.result, p.err = Run(*p.scenario, p.contender)
		close(p.done)
	}
}
