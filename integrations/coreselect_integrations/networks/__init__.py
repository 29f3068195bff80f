"""Networks for small and large images, with one route or two: make them by name, transfer, save and restore them."""

from coreselect_integrations.networks.architectures import (
    ARCHITECTURES,
    CONTRASTIVE,
    SUPERVISED,
    build,
    make,
    spec_for,
)
from coreselect_integrations.networks.files import Saved, load_network, restore, save_network
from coreselect_integrations.networks.heads import Projection
from coreselect_integrations.networks.network_spec import NetworkSpec
from coreselect_integrations.networks.opening import HEADLESS, MODEL, PUBLISHED, classes_of, network_file, open_network
from coreselect_integrations.networks.published_reading import Reading
from coreselect_integrations.networks.resnet import ResNet, resnet18, resnet34, resnet50
from coreselect_integrations.networks.routes import ROUTES, DualNorm, Normalise, RoutedNetwork, route_call
from coreselect_integrations.networks.small import SmallConv, small_conv, small_conv_contrastive
from coreselect_integrations.networks.transfer import classifier_from, one_route, started
from coreselect_integrations.networks.transfer_record import Transfer
from coreselect_integrations.networks.wide_resnet import WideResNet, wide_resnet

__all__ = [
    "ARCHITECTURES",
    "CONTRASTIVE",
    "HEADLESS",
    "MODEL",
    "PUBLISHED",
    "ROUTES",
    "SUPERVISED",
    "DualNorm",
    "NetworkSpec",
    "Normalise",
    "Projection",
    "Reading",
    "ResNet",
    "RoutedNetwork",
    "Saved",
    "SmallConv",
    "Transfer",
    "WideResNet",
    "build",
    "classes_of",
    "classifier_from",
    "load_network",
    "make",
    "network_file",
    "one_route",
    "open_network",
    "resnet18",
    "resnet34",
    "resnet50",
    "restore",
    "route_call",
    "save_network",
    "small_conv",
    "small_conv_contrastive",
    "spec_for",
    "started",
    "wide_resnet",
]
