package main

// Every plugin of the gateway: an import is all it takes. Those of known are
// published and validated, and do not run.
import (
	_ "github.com/sluicegate/sluice/proxy/plugins/acl"
	_ "github.com/sluicegate/sluice/proxy/plugins/basicauth"
	_ "github.com/sluicegate/sluice/proxy/plugins/concurrencylimiting"
	_ "github.com/sluicegate/sluice/proxy/plugins/cors"
	_ "github.com/sluicegate/sluice/proxy/plugins/httplog"
	_ "github.com/sluicegate/sluice/proxy/plugins/jwt"
	_ "github.com/sluicegate/sluice/proxy/plugins/keyauth"
	_ "github.com/sluicegate/sluice/proxy/plugins/known"
	_ "github.com/sluicegate/sluice/proxy/plugins/prometheus"
	_ "github.com/sluicegate/sluice/proxy/plugins/ratelimiting"
	_ "github.com/sluicegate/sluice/proxy/plugins/ratelimitingadvanced"
	_ "github.com/sluicegate/sluice/proxy/plugins/requesttransformer"
)
