package turn

import (
	"math"
	"math/bits"
)

// Alias draws by weight in one step (Walker 1977, as Vose builds it): a column
// is drawn evenly, and is either itself or its alias.
type Alias struct {
	keep  []uint64 // below this the column is itself
	other []uint32
}

// NewAlias makes one from weights above 0.
func NewAlias(weights []uint32) *Alias {
	n := len(weights)
	a := &Alias{make([]uint64, n), make([]uint32, n)}
	var total float64
	for _, w := range weights {
		total += float64(w)
	}
	scaled := make([]float64, n)
	var small, large []int
	for i, w := range weights {
		scaled[i] = float64(w) * float64(n) / total
		if scaled[i] < 1 {
			small = append(small, i)
		} else {
			large = append(large, i)
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		a.keep[s], a.other[s] = uint64(scaled[s]*(1<<63))<<1, uint32(l)
		if scaled[l] -= 1 - scaled[s]; scaled[l] < 1 {
			large = large[:len(large)-1]
			small = append(small, l)
		}
	}
	for _, i := range append(small, large...) { // what rounding left is whole
		a.keep[i], a.other[i] = math.MaxUint64, uint32(i)
	}
	return a
}

// Draw makes a place in the list of a random number.
func (a *Alias) Draw(random uint64) int {
	i, rest := bits.Mul64(random, uint64(len(a.keep)))
	if rest >= a.keep[i] {
		return int(a.other[i])
	}
	return int(i)
}
