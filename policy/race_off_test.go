//go:build !race

package policy_test

import "testing"

func skipUnderRace(*testing.T) {}
