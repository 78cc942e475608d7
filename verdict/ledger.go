package verdict

// Ledger is the last transitions of an endpoint, as a ring.
type Ledger struct {
	all   []Transition
	first int // the oldest
}

// Add enters a transition, over the oldest one if there are most already.
func (l *Ledger) Add(t Transition, most int) {
	if len(l.all) > most { // it was longer before a reload
		l.all, l.first = l.List()[len(l.all)-most:], 0
	}
	if len(l.all) < most {
		l.all, l.first = append(l.List(), t), 0
		return
	}
	l.all[l.first] = t
	l.first = (l.first + 1) % len(l.all)
}

// List is what it holds, the oldest first.
func (l *Ledger) List() []Transition {
	return append(append(make([]Transition, 0, len(l.all)+1), l.all[l.first:]...), l.all[:l.first]...)
}
