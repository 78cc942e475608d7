package parent

import (
	"time"

	"viaduct/cable"
)

// Hurry makes a Trunk look after its connections sooner.
func (t *Trunk) Hurry(quiet, pong, idle time.Duration) {
	t.bounds = cable.Bounds{Quiet: quiet, Pong: pong, Idle: idle}
}
