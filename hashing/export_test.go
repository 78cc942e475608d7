package hashing

// Ladder are the sizes that tables may have.
func Ladder() []int { return ladder[:] }

// Slots are the owners of all slots.
func (t *Maglev) Slots() []int32 { return t.slots }

// Shares are the parts of the circle that the n nodes of the list own.
func (r *Ring) Shares(n int) []float64 {
	share := make([]float64, n)
	before := float64(0)
	for _, p := range r.points {
		place := float64(p>>ownerBits) / (1 << (64 - ownerBits))
		share[p&(1<<ownerBits-1)] += place - before
		before = place
	}
	share[r.points[0]&(1<<ownerBits-1)] += 1 - before
	return share
}

// Points are the numbers of points of the n nodes of the list.
func (r *Ring) Points(n int) []int {
	count := make([]int, n)
	for _, p := range r.points {
		count[p&(1<<ownerBits-1)]++
	}
	return count
}
