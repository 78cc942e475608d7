package metrics

// Side is who viaduct sets up TLS with.
type Side uint8

// The sides.
const (
	SideClient    Side = iota // a client that reaches the proxy by TLS
	SideInspected             // a client, inside a tunnel that is inspected
	SideOrigin                // a destination
	sides
)

var sideLabels = [sides]string{"client", "inspected", "origin"}

// String is the label. What is no Side has none.
func (s Side) String() string {
	if s >= sides {
		return ""
	}
	return sideLabels[s]
}

// Handshake counts a TLS handshake that has ended.
func (f *Front) Handshake(s Side, ok bool) {
	switch {
	case f == nil || s >= sides:
	case ok:
		f.handshakes[s][1].Inc()
	default:
		f.handshakes[s][0].Inc()
	}
}

// Lane is who carries a request.
type Lane uint8

// The lanes.
const (
	LaneFast    Lane = iota // the engine of the house
	LaneLibrary             // the chain of filters
	lanes
)

var laneLabels = [lanes]string{"fast", "library"}

// String is the label. What is no Lane has none.
func (l Lane) String() string {
	if l >= lanes {
		return ""
	}
	return laneLabels[l]
}

// Lane counts a request by who carries it.
func (f *Front) Lane(l Lane) {
	if f != nil && l < lanes {
		f.lanes[l].Inc()
	}
}
