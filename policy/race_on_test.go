//go:build race

package policy_test

import "testing"

func skipUnderRace(t *testing.T) { t.Skip("the race detector allocates") }
