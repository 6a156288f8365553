package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/spf13/cobra"
)

// tokenOptions are the flags of sluice jwt.
type tokenOptions struct {
	admin                   adminOptions
	consumer                string
	key, secret, privateKey string
	algorithm, keyClaim     string
	claims                  []string
	lifetime                time.Duration
}

func jwtCommand() *cobra.Command {
	var o tokenOptions
	cmd := &cobra.Command{
		Use:   "jwt",
		Short: "Make a signed token to try the jwt plugin with",
		Long: `Jwt prints a signed JSON Web Token, and nothing else, on its standard output.

With --consumer it asks the Admin API for a credential of that consumer, and
makes the consumer and the credential if they are missing. Otherwise --key is
the credential's key, and --secret or --private-key signs.

Claims: the key (in --key-claim, "iss" unless the plugin says otherwise), iat,
nbf, exp, and every --claim. A claim's value is taken as JSON if it is JSON.`,
		Example: `  TOKEN=$(sluice jwt --consumer alice)
  curl -H "Authorization: Bearer $TOKEN" http://localhost:8000/students

  sluice jwt --key my-key --secret my-secret --claim sub=alice --exp 15m
  sluice jwt --key my-key --algorithm RS256 --private-key key.pem`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.complete(cmd); err != nil {
				return err
			}
			token, err := o.sign(time.Now())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), token)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.consumer, "consumer", "", "username of the consumer the token is for")
	f.StringVar(&o.key, "key", "", "key of a JWT credential")
	f.StringVar(&o.secret, "secret", "", "secret of the credential, for HS256, HS384 and HS512")
	f.StringVar(&o.privateKey, "private-key", "", "file with the private key (PEM), for the other algorithms")
	f.StringVar(&o.algorithm, "algorithm", "", "HS256 (default), HS384, HS512, RS*, PS*, ES256, ES384, ES512 or EdDSA")
	f.StringVar(&o.keyClaim, "key-claim", "iss", "claim that carries the key (the plugin's key_claim_name)")
	f.StringArrayVar(&o.claims, "claim", nil, "further claim as name=value; may be repeated")
	f.DurationVar(&o.lifetime, "exp", time.Hour, "how long the token is valid; 0: without an exp claim")
	o.admin.bind(cmd.Flags())
	return cmd
}

// complete fills in what the flags leave open, from the Admin API if a consumer
// is named.
func (o *tokenOptions) complete(cmd *cobra.Command) error {
	switch {
	case o.lifetime < 0:
		return errors.New("--exp must not be negative")
	case o.consumer != "" && (o.key != "" || o.secret != ""):
		return errors.New("--consumer finds key and secret itself: leave out --key and --secret")
	case o.consumer != "":
		client, err := o.admin.client()
		if err != nil {
			return err
		}
		return o.fromConsumer(cmd.Context(), client)
	case o.key == "":
		return errors.New("either --consumer NAME, or --key with --secret or --private-key")
	}
	if o.algorithm == "" {
		o.algorithm = "HS256"
	}
	return nil
}

func (o *tokenOptions) sign(now time.Time) (string, error) {
	method := jwt.GetSigningMethod(o.algorithm)
	if method == nil || o.algorithm == jwt.SigningMethodNone.Alg() {
		return "", fmt.Errorf("unknown algorithm %q", o.algorithm)
	}
	claims := jwt.MapClaims{o.keyClaim: o.key, "iat": now.Unix(), "nbf": now.Unix()}
	if o.lifetime > 0 {
		claims["exp"] = now.Add(o.lifetime).Unix()
	}
	for _, c := range o.claims {
		name, text, ok := strings.Cut(c, "=")
		if !ok || name == "" {
			return "", fmt.Errorf("--claim %q is not name=value", c)
		}
		claims[name] = claimValue(text)
	}
	key, err := o.signingKey(method)
	if err != nil {
		return "", err
	}
	token, err := jwt.NewWithClaims(method, claims).SignedString(key)
	if err != nil {
		return "", fmt.Errorf("sign with %s: %w", o.algorithm, err)
	}
	return token, nil
}

// claimValue takes numbers, true, false, null, lists and objects as such, and
// everything else as a string.
func claimValue(text string) any {
	var value any
	if json.Unmarshal([]byte(text), &value) == nil {
		return json.RawMessage(text)
	}
	return text
}

func (o *tokenOptions) signingKey(method jwt.SigningMethod) (any, error) {
	if _, ok := method.(*jwt.SigningMethodHMAC); ok {
		if o.secret == "" {
			return nil, fmt.Errorf("%s needs --secret", o.algorithm)
		}
		return []byte(o.secret), nil
	}
	if o.privateKey == "" {
		return nil, fmt.Errorf("%s needs --private-key", o.algorithm)
	}
	pem, err := os.ReadFile(o.privateKey)
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	var key any
	switch method.(type) {
	case *jwt.SigningMethodRSA, *jwt.SigningMethodRSAPSS:
		key, err = jwt.ParseRSAPrivateKeyFromPEM(pem)
	case *jwt.SigningMethodECDSA:
		key, err = jwt.ParseECPrivateKeyFromPEM(pem)
	default:
		key, err = jwt.ParseEdPrivateKeyFromPEM(pem)
	}
	if err != nil {
		return nil, fmt.Errorf("private key %s for %s: %w", o.privateKey, o.algorithm, err)
	}
	return key, nil
}
