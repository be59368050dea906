pytest_plugins = ["rig.testing"]
