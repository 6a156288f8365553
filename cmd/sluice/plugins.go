package main

// Every plugin of the gateway: an import is all it takes.
import (
	_ "github.com/sluicegate/sluice/proxy/plugins/concurrencylimiting"
	_ "github.com/sluicegate/sluice/proxy/plugins/jwt"
	_ "github.com/sluicegate/sluice/proxy/plugins/keyauth"
	_ "github.com/sluicegate/sluice/proxy/plugins/prometheus"
	_ "github.com/sluicegate/sluice/proxy/plugins/ratelimiting"
	_ "github.com/sluicegate/sluice/proxy/plugins/ratelimitingadvanced"
)
