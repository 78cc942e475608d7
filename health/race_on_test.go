//go:build race

package health_test

import "testing"

func skipUnderRace(t *testing.T) { t.Skip("the race detector allocates") }
