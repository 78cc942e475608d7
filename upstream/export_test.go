package upstream

// Len is how many destinations have a place in the pool, and how many idle
// connections it counts.
func (p *Idle) Len() (origins, idle int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.origins), int(p.open.Load())
}
