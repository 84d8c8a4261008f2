"""The kinds of actions, and how each is opened. Snapshots are pictures, not deliveries: `snapshots` makes them."""

from collections.abc import Callable, Sequence
from typing import Any

from facemask.watch.actions.command_action import open_command
from facemask.watch.actions.event_receiver import EventReceiver
from facemask.watch.actions.json_lines_action import open_json_lines
from facemask.watch.actions.mqtt_action import open_mqtt
from facemask.watch.actions.webhook_action import open_webhook
from facemask.watch.watch_config import Command, JsonLines, Mqtt, WatchConfig, Webhook

OPENERS: dict[type, Callable[[Any, WatchConfig, Sequence[str]], EventReceiver]] = {
    JsonLines: lambda action, config, classes: open_json_lines(action),
    Webhook: lambda action, config, classes: open_webhook(action),
    Mqtt: open_mqtt,
    Command: lambda action, config, classes: open_command(action),
}


def open_receivers(config: WatchConfig, classes: Sequence[str]) -> dict[str, EventReceiver]:
    """Open the actions that deliver events, by name. Connects to nothing yet.

    Args:
        config: The configuration.
        classes: The detector's classes.

    Raises:
        UserError: A secret cannot be read, a program is not there, or a file cannot be written.
    """
    return {
        action.name: OPENERS[type(action)](action, config, classes)
        for action in config.actions
        if type(action) in OPENERS
    }
