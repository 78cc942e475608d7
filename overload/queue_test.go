package overload_test

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"time"

	"viaduct/overload"
)

// queue is a small upstream for a Gradient: requests come by chance, and so many
// are worked on at a time while the others wait in order.
type queue struct {
	*overload.Gradient
	dice    *rand.Rand
	slots   int           // the knee
	mean    time.Duration // of the work of one
	sigma   float64       // of its lognormal distribution, 0 is always the same
	load    float64       // of what the slots can do
	dropped float64       // the part that the upstream refuses, at once
	aborted float64       // the part that the client aborts, at once

	now    time.Duration
	next   time.Duration // when the next request comes
	free   times         // when each slot is free
	leave  leavers
	served int
	waited time.Duration
	limits []int // in force, at each request
}

type times []time.Duration

func (t *times) Len() int           { return len(*t) }
func (t *times) Less(i, j int) bool { return (*t)[i] < (*t)[j] }
func (t *times) Swap(i, j int)      { (*t)[i], (*t)[j] = (*t)[j], (*t)[i] }
func (t *times) Push(x any)         { *t = append(*t, x.(time.Duration)) }
func (t *times) Pop() any {
	last := (*t)[len(*t)-1]
	*t = (*t)[:len(*t)-1]
	return last
}

type leaver struct {
	at, came time.Duration
	outcome  overload.Outcome
}

type leavers []leaver

func (l *leavers) Len() int           { return len(*l) }
func (l *leavers) Less(i, j int) bool { return (*l)[i].at < (*l)[j].at }
func (l *leavers) Swap(i, j int)      { (*l)[i], (*l)[j] = (*l)[j], (*l)[i] }
func (l *leavers) Push(x any)         { *l = append(*l, x.(leaver)) }
func (l *leavers) Pop() any {
	last := (*l)[len(*l)-1]
	*l = (*l)[:len(*l)-1]
	return last
}

// run goes on for d, and forgets what was measured before.
func (q *queue) run(d time.Duration) {
	end := q.now + d
	q.served, q.waited, q.limits = 0, 0, q.limits[:0]
	for q.now < end {
		if q.next < q.now {
			q.next = q.now
		}
		if len(q.leave) > 0 && q.leave[0].at <= q.next {
			q.now = q.leave[0].at
			q.depart(heap.Pop(&q.leave).(leaver))
			continue
		}
		q.now = q.next
		q.arrive()
		gap := q.dice.ExpFloat64() / (q.load * float64(q.slots)) * float64(q.mean)
		q.next = q.now + time.Duration(gap)
	}
}

func (q *queue) arrive() {
	q.limits = append(q.limits, q.Limit())
	if !q.Acquire() {
		return
	}
	l := leaver{at: q.now + time.Millisecond, came: q.now, outcome: overload.Served}
	switch u := q.dice.Float64(); {
	case u < q.dropped:
		l.outcome = overload.Dropped
	case u < q.dropped+q.aborted:
		l.outcome = overload.Ignored
	default:
		l.at = q.start() + q.work()
		heap.Push(&q.free, l.at)
	}
	heap.Push(&q.leave, l)
}

// start takes the slot that is free first.
func (q *queue) start() time.Duration {
	for len(q.free) < q.slots {
		heap.Push(&q.free, q.now)
	}
	for len(q.free) > q.slots { // some are lost: those that were free
		heap.Pop(&q.free)
	}
	return max(q.now, heap.Pop(&q.free).(time.Duration))
}

func (q *queue) work() time.Duration {
	return time.Duration(float64(q.mean) * math.Exp(q.sigma*q.dice.NormFloat64()-q.sigma*q.sigma/2))
}

func (q *queue) depart(l leaver) {
	q.Release(q.now, q.now-l.came, l.outcome)
	if l.outcome == overload.Served {
		q.served++
		q.waited += q.now - l.came
	}
}

// limit is the average limit of the last run.
func (q *queue) limit() float64 {
	sum := 0
	for _, n := range q.limits {
		sum += n
	}
	return float64(sum) / float64(max(len(q.limits), 1))
}

// latency is the average of the last run, in means of the work.
func (q *queue) latency() float64 {
	return float64(q.waited) / float64(max(q.served, 1)) / float64(q.mean)
}

// done is the part of what the slots could have done in the last run, which was d long.
func (q *queue) done(d time.Duration) float64 {
	return float64(q.served) * float64(q.mean) / float64(q.slots) / float64(d)
}
