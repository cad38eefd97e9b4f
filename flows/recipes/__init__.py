"""The method as flows: a refresh, single stages, a plan, a person's answer."""
