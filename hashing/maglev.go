package hashing

import "slices"

// ladder are the sizes of tables, each a prime; a step is a factor of four, so
// that few lists cross one: all keys move then.
var ladder = [...]int{65_537, 262_147, 1_048_573}

// spread is how many slots a node has at least, on average and up to the end of
// the ladder: the shares of equal nodes differ by 1 in so many.
const spread = 100

// Maglev is a table of slots, each of which belongs to a node (Maglev, NSDI
// 2016): a look into it is all it takes, and the shares are as equal as slots
// can be. The nil Maglev has no nodes.
type Maglev struct {
	slots []int32 // indexes of the list as given
}

// NewMaglev makes a table of the members with weight. Above 1,048,573 of them,
// some have no slot.
func NewMaglev(m []Member) *Maglev {
	list := players(m)
	if len(list) == 0 {
		return &Maglev{}
	}
	size := ladder[len(ladder)-1]
	if i := slices.IndexFunc(ladder[:], func(n int) bool { return n >= spread*len(list) }); i >= 0 {
		size = ladder[i]
	}
	t := &Maglev{slots: make([]int32, size)}
	t.fill(list)
	return t
}

// none is the end of a list.
const none = -1

// seeker is a player that takes slots: those of its own sequence, which visits
// each slot once, that nobody has taken before.
type seeker struct {
	at, skip int
	took     uint64
	next     int32 // who has its turn in the same round
}

// fill lets the players take slots in turns. The heaviest has one in every
// round, who has a third of its weight one in three, and all have one in the
// first.
func (t *Maglev) fill(list []player) {
	taken := make([]uint64, len(t.slots)/64+1) // a bit for each slot: what is looked at often is small
	var heaviest, sum uint64
	for _, p := range list {
		heaviest = max(heaviest, p.weight)
		sum += p.weight
	}
	// As many turns as there are slots end within so many rounds.
	rounds := make([]int32, uint64(len(t.slots))*heaviest/sum+2)
	for i := range rounds {
		rounds[i] = none
	}
	seekers := make([]seeker, len(list))
	for i, p := range list {
		first := Mix(p.hash)
		seekers[i] = seeker{at: below(first, len(t.slots)), skip: 1 + below(Mix(first), len(t.slots)-1), next: rounds[0]}
		rounds[0] = int32(i)
	}
	left := len(t.slots)
	for r := 0; left > 0; r++ {
		for i := rounds[r]; i != none && left > 0; left-- {
			s := &seekers[i]
			t.slots[s.take(taken, len(t.slots))] = int32(list[i].index)
			then := (s.took*heaviest + list[i].weight - 1) / list[i].weight
			following := s.next
			if then < uint64(len(rounds)) {
				s.next, rounds[then] = rounds[then], i
			}
			i = following
		}
	}
}

// take gives s the next slot of its sequence that nobody has.
func (s *seeker) take(taken []uint64, size int) int {
	at := s.at
	for taken[at/64]>>(at%64)&1 != 0 {
		if at += s.skip; at >= size {
			at -= size
		}
	}
	taken[at/64] |= 1 << (at % 64)
	s.at = at
	s.took++
	return at
}

// Walk begins the way of a key: home, then places that have nothing to do with
// each other, so that the keys of a node that is full go to all the others.
func (t *Maglev) Walk(key uint64) Walk {
	if t == nil || len(t.slots) == 0 {
		return Walk{}
	}
	return Walk{maglev: t, at: key, left: patience}
}

func (t *Maglev) next(at *uint64) int {
	slot := below(Mix(*at), len(t.slots))
	*at += golden
	return int(t.slots[slot])
}
