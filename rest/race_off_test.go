//go:build !race

package rest_test

import "testing"

func skipUnderRace(*testing.T) {}
