package cmd

import (
	"encoding/json"
	"net/http"

	"github.com/urfave/cli/v2"

	"viaduct/display"
	"viaduct/snapshot"
)

// adminDefault is where an instance is looked for that nobody names.
const adminDefault = "127.0.0.1:9090"

func statusCommand() *cli.Command {
	return &cli.Command{
		Name:      "status",
		Usage:     "show the pools of a running instance, and how their endpoints are",
		UsageText: "viaduct status [--admin ADDR] [--admin-token-file FILE] [--json]",
		Description: "Of each endpoint: whether it takes new requests (STATE: ready, sick, out, or affine for\n" +
			"one that drains), its weight, requests and tunnels under way, how many it was given and\n" +
			"failed, its latency, and for how many destinations it rests. Below: what operator and\n" +
			"list say of it, what checks and requests found, whether it has room, and reasons.",
		Flags: append(adminFlags("ask the instance with this admin `ADDR`: host:port, or unix:///path (default: "+adminDefault+")"),
			&cli.BoolFlag{Name: "json", Usage: "print JSON", DisableDefaultText: true}),
		Before: noArguments,
		Action: status,
	}
}

func status(c *cli.Context) error {
	addr := adminDefault
	if c.IsSet("admin") {
		addr = c.String("admin")
	}
	var found snapshot.Status
	from, err := ask(c, addr, "/api/status", &found)
	switch {
	case err != nil:
		return err
	case found.Version == "": // an object, but another's
		return from.Foreign(http.StatusOK)
	case c.Bool("json"):
		out := json.NewEncoder(c.App.Writer)
		out.SetIndent("", "  ")
		return out.Encode(found)
	}
	return display.Status(c.App.Writer, found.Version, found.Pools)
}
