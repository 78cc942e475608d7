package cmd_test

import (
	"fmt"
	"strings"
	"testing"

	"viaduct/config"
	"viaduct/forward"
)

// No rule may be called what a check of viaduct's own is.
func TestReservedNamesAreRefused(t *testing.T) {
	for _, name := range append(forward.Reserved(), "default") {
		_, err := config.Read("v.yaml", fmt.Appendf(nil, "forward: [{rules: [{name: %s, deny: {port: 1}}]}]\n", name))
		if err == nil || !strings.Contains(err.Error(), "is what a check of viaduct's own is called") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
