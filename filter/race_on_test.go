//go:build race

package filter_test

import "testing"

func skipUnderRace(t *testing.T) { t.Skip("the race detector allocates") }
